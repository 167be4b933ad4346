/*
 * threads_fail.h -- a process that may start no more threads, for a test that says when.
 *
 * The linker leads the daemon's own calls here (-Wl,--wrap=pthread_create); those inside shared
 * libraries go their way.
 */
#ifndef THREADS_FAIL_H
#define THREADS_FAIL_H

#include <errno.h>
#include <pthread.h>

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg); /* the linker's names */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);

/* The call at which there is none, 1 being the next one; 0: never.  Main thread only. */
static unsigned threads_fail;

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
		      void *arg)
{
	if (threads_fail && --threads_fail == 0)
		return EAGAIN;
	return __real_pthread_create(thread, attr, run, arg);
}

#endif /* THREADS_FAIL_H */
