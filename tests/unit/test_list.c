/*
 * test_list.c -- connections and lanes hang in lists: a node lost here is a producer that is
 * never answered.
 */
#include "base/base.h"
#include "base/list.h"
#include "unit.h"

struct item {
	int number;
	struct list link;
};

static int
sum_in_order(const struct list *head)
{
	int sum = 0;

	for (const struct list *n = head->next; n != head; n = n->next)
		sum = sum * 10 + LIST_ENTRY(n, const struct item, link)->number;
	return sum;
}

START_TEST(keeps_the_order)
{
	struct item items[5];
	struct list head;

	list_init(&head);
	ck_assert(list_empty(&head));
	for (int i = 0; i < 5; i++) {
		items[i].number = i + 1;
		list_add_tail(&head, &items[i].link);
	}
	ck_assert_int_eq(sum_in_order(&head), 12345);
	list_del(&items[2].link);
	ck_assert_int_eq(sum_in_order(&head), 1245);
	list_del(&items[2].link); /* once more does nothing */
	ck_assert_int_eq(sum_in_order(&head), 1245);
	list_add_tail(&head, &items[2].link);
	ck_assert_int_eq(sum_in_order(&head), 12453);
}
END_TEST

START_TEST(the_body_may_delete_its_node)
{
	struct item items[6];
	struct list head;
	int seen = 0;

	list_init(&head);
	for (int i = 0; i < 6; i++) {
		items[i].number = i + 1;
		list_add_tail(&head, &items[i].link);
	}
	LIST_EACH (node, &head) {
		seen++;
		if (LIST_ENTRY(node, struct item, link)->number % 2)
			list_del(node);
	}
	ck_assert_int_eq(seen, 6);
	ck_assert_int_eq(sum_in_order(&head), 246);
	LIST_EACH (node, &head) {
		list_del(node);
	}
	ck_assert(list_empty(&head));
}
END_TEST

UNIT("list", keeps_the_order, the_body_may_delete_its_node);
