#!/usr/bin/env python3
"""stock.py -- a service that keeps the stock, with Kafka's client for Python: each order is taken from it exactly once.

    stock.py KAFKA DATABASE INSTANCE              e.g. 127.0.0.1:9092 stock.db stock-1

It remembers by escrow-seq: one row for each partition, which never grows.  INSTANCE is this process's place in its group:
started again under that name, it has its partitions at once.  Kill it at any instant.

What cannot be applied ends the process, and its message is the first when it starts again.  A service that must go on
would write it to a topic of dead letters first.
"""

import sqlite3
import sys

import confluent_kafka

NAME = b"stock-python"
GAP_MAX = 10000
WHERE = "WHERE consumer = ? AND topic = ? AND part = ? AND journal = ?"


def connect(path):
    """Transactions are begun and ended by hand, so that their statements are those of TABLES.md."""
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    db.execute("CREATE TABLE IF NOT EXISTS escrow_hw (consumer BLOB NOT NULL, topic BLOB NOT NULL, part INTEGER NOT NULL, "
               "journal BLOB NOT NULL, first INTEGER NOT NULL, seq INTEGER NOT NULL, "
               "PRIMARY KEY (consumer, topic, part, journal)) WITHOUT ROWID")
    db.execute("CREATE TABLE IF NOT EXISTS escrow_gap (consumer BLOB NOT NULL, topic BLOB NOT NULL, part INTEGER NOT NULL, "
               "journal BLOB NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (consumer, topic, part, journal, n)) WITHOUT ROWID")
    db.execute("CREATE TABLE IF NOT EXISTS sold (id, item, pieces)")
    return db


def claim(db, key, n):
    """Whether the message is new.  Key: consumer, topic, partition, journal."""
    if db.execute("UPDATE escrow_hw SET seq = ? " + WHERE + " AND seq = ?", (n, *key, n - 1)).rowcount == 1:
        return True  # the next in order, nearly always
    db.execute("INSERT INTO escrow_hw (consumer, topic, part, journal, first, seq) VALUES (?, ?, ?, ?, ?, ?) "
               "ON CONFLICT (consumer, topic, part, journal) DO NOTHING", (*key, n - 1, n - 1))
    first, seq = db.execute("SELECT first, seq FROM escrow_hw " + WHERE, key).fetchone()
    if n <= first:
        raise RuntimeError("of before this consumer's beginning: applied or not, nobody knows")
    if n <= seq:
        return db.execute("DELETE FROM escrow_gap " + WHERE + " AND n = ?", (*key, n)).rowcount == 1
    if n - seq - 1 > GAP_MAX:
        raise RuntimeError("Kafka's retention has overtaken this consumer")
    db.executemany("INSERT INTO escrow_gap (consumer, topic, part, journal, n) VALUES (?, ?, ?, ?, ?) "
                   "ON CONFLICT (consumer, topic, part, journal, n) DO NOTHING", [(*key, i) for i in range(seq + 1, n)])
    db.execute("UPDATE escrow_hw SET seq = ? " + WHERE, (n, *key))
    return True


def apply(db, message):
    """Its effect is durable when this returns, from now or from before."""
    journal, n = dict(message.headers())["escrow-seq"].decode().split(":")
    key = (NAME, message.topic().encode(), message.partition(), bytes.fromhex(journal))
    db.execute("BEGIN IMMEDIATE")
    try:
        if claim(db, key, int(n)):
            order, pieces, item = message.value().decode().split(" ", 2)
            db.execute("INSERT INTO sold VALUES (?, ?, ?)", (order, item, int(pieces)))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def main(kafka, path, instance):
    db = connect(path)
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": kafka, "group.id": "stock-python", "group.instance.id": instance,
        "auto.offset.reset": "earliest", "enable.auto.offset.store": False})
    consumer.subscribe(["orders"])
    while True:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            print("stock.py: %s" % message.error(), file=sys.stderr)  # a broker that is away; it will be back
            continue
        apply(db, message)
        try:
            consumer.store_offsets(message)  # committed now and then, only behind a durable effect
        except confluent_kafka.KafkaException:
            pass  # the partition has gone to another, who finds the effect


if __name__ == "__main__":
    main(*sys.argv[1:])
