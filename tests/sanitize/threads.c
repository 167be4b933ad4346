/*
 * threads.c -- C11's threads as POSIX ones, for builds under ThreadSanitizer.
 *
 * Debian's librdkafka calls thrd_create(), mtx_lock() and their like.  ThreadSanitizer knows the
 * pthread calls only: a thread that was begun behind its back crashes it at the first call that it
 * watches, and locks that it does not see look like none.  So in such builds the calls come
 * here first.  glibc's types are the POSIX ones under another name, which is asserted.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "thrd_t is a pthread_t");
_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "cnd_t is a pthread_cond_t");
_Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "once_flag is a pthread_once_t");

struct begin {
	thrd_start_t call;
	void *arg;
};

static int
result(int err)
{
	switch (err) {
	case 0:
		return thrd_success;
	case ETIMEDOUT:
		return thrd_timedout;
	case EBUSY:
		return thrd_busy;
	case ENOMEM:
		return thrd_nomem;
	default:
		return thrd_error;
	}
}

static void *
run(void *arg)
{
	struct begin begin = *(struct begin *)arg;

	free(arg);
	return (void *)(intptr_t)begin.call(begin.arg);
}

/* By its name, as a library finds it: a test may have led calls of the program elsewhere. */
static int
start(pthread_t *ret_thread, void *arg)
{
	__typeof__(&pthread_create) real =
		(__typeof__(&pthread_create))dlsym(RTLD_DEFAULT, "pthread_create");

	return real(ret_thread, NULL, run, arg);
}

int
thrd_create(thrd_t *ret_thread, thrd_start_t call, void *arg)
{
	struct begin *begin = malloc(sizeof(*begin));
	int err;

	if (begin == NULL)
		return thrd_nomem;
	*begin = (struct begin){ call, arg };
	err = start((pthread_t *)ret_thread, begin);
	if (err != 0)
		free(begin);
	return result(err);
}

int
thrd_join(thrd_t thread, int *ret_value)
{
	void *value = NULL;
	int err = pthread_join((pthread_t)thread, &value);

	if (err == 0 && ret_value != NULL)
		*ret_value = (int)(intptr_t)value;
	return result(err);
}

int
mtx_init(mtx_t *m, int type)
{
	pthread_mutexattr_t attr;
	int err;

	(void)pthread_mutexattr_init(&attr); /* cannot fail with glibc, nor the next */
	(void)pthread_mutexattr_settype(&attr, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE
								    : PTHREAD_MUTEX_NORMAL);
	err = pthread_mutex_init((pthread_mutex_t *)m, &attr);
	(void)pthread_mutexattr_destroy(&attr);
	return result(err);
}

void
mtx_destroy(mtx_t *m)
{
	(void)pthread_mutex_destroy((pthread_mutex_t *)m); /* mtx_destroy() tells nothing */
}

int
mtx_lock(mtx_t *m)
{
	return result(pthread_mutex_lock((pthread_mutex_t *)m));
}

int
mtx_trylock(mtx_t *m)
{
	return result(pthread_mutex_trylock((pthread_mutex_t *)m));
}

int
mtx_unlock(mtx_t *m)
{
	return result(pthread_mutex_unlock((pthread_mutex_t *)m));
}

int
cnd_init(cnd_t *c)
{
	return result(pthread_cond_init((pthread_cond_t *)c, NULL));
}

void
cnd_destroy(cnd_t *c)
{
	(void)pthread_cond_destroy((pthread_cond_t *)c); /* cnd_destroy() tells nothing */
}

int
cnd_signal(cnd_t *c)
{
	return result(pthread_cond_signal((pthread_cond_t *)c));
}

int
cnd_broadcast(cnd_t *c)
{
	return result(pthread_cond_broadcast((pthread_cond_t *)c));
}

int
cnd_wait(cnd_t *c, mtx_t *m)
{
	return result(pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m));
}

int
cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
	return result(pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until));
}

void
call_once(once_flag *once, void (*call)(void))
{
	(void)pthread_once((pthread_once_t *)once, call); /* call_once() tells nothing */
}
