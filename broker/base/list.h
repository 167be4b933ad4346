/*
 * list.h -- a doubly linked list inside the things it links.
 *
 *      head <-> a <-> b <-> c <-> head          an empty list points at itself
 *
 * The list owns nothing.  A node that is not in a list has been list_init()ed or
 * list_del()ed, and list_del() of such a node does nothing.
 */
#ifndef LIST_H
#define LIST_H

#include "base.h"

struct list {
	struct list *next;
	struct list *prev;
};

static inline void
list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool
list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void
list_add_tail(struct list *head, struct list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void
list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)
/* The body may delete the node it is at, no other. */
#define LIST_EACH(node, head)                                                                      \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head);          \
	     node = node##_next, node##_next = node->next)

#endif /* LIST_H */
