/*
 * err.c -- names and sentences of the errors.
 *
 * A switch and not an array: an array shifts silently when a number is left out.
 */
#include "base/err.h"

const char *
err_name(int err)
{
	if (err == 0)
		return "OK";
	switch (err) {
#define X(name, value, text)                                                                       \
	case -(value):                                                                             \
		return #name;
		ERR_LIST(X)
#undef X
	}
	return "UNKNOWN";
}

const char *
err_text(int err)
{
	if (err == 0)
		return "success";
	switch (err) {
#define X(name, value, text)                                                                       \
	case -(value):                                                                             \
		return text;
		ERR_LIST(X)
#undef X
	}
	return "an error without a name";
}
