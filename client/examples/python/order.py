#!/usr/bin/env python3
"""order.py -- a service that sells, on libescrow: an order in its database and a message to the stock, or neither.

    order.py ESCROW DATABASE ITEM ORDERS          e.g. 127.0.0.1:9876 orders.db shoes 100

Kill it at any instant: an order that is in the database is heard of by stock.py, and one that is not never is.  When
it has sold it stays, until its standard input ends, to answer what Escrow asks: for itself, and for those of its group
that are gone.
"""

import ctypes
import os
import random
import sqlite3
import sys
import uuid

COMMITTED, ROLLED_BACK = 1, 2  # of a row of the fence
UNKNOWN, COMMIT, ROLLBACK = 0, 1, 2  # escrow_decision

# What is needed of escrow.h.
size_t, text, pointer = ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p


class Message(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("topic", text), ("key", text), ("key_len", size_t), ("value", text),
                ("value_len", size_t), ("headers", pointer), ("header_count", size_t), ("partition", ctypes.c_int32)]


class HalfOpts(ctypes.Structure):
    _fields_ = [("struct_size", size_t), ("id", text), ("group", text), ("db_id", text), ("check_after_ms", ctypes.c_int32),
                ("timeout_ms", ctypes.c_int32), ("flags", ctypes.c_uint32)]


Check = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)
escrow = ctypes.CDLL("libescrow.so.0")
escrow.escrow_open.argtypes = [ctypes.POINTER(pointer), text]
escrow.escrow_half_send.argtypes = [pointer, ctypes.POINTER(Message), size_t, ctypes.POINTER(HalfOpts), ctypes.POINTER(pointer)]
escrow.escrow_txn_gid.argtypes, escrow.escrow_txn_gid.restype = [pointer], text
escrow.escrow_decide.argtypes = [ctypes.POINTER(pointer), ctypes.c_int, pointer]
escrow.escrow_abandon.argtypes = [ctypes.POINTER(pointer)]
escrow.escrow_on_check.argtypes = [pointer, text, Check, pointer]
escrow.escrow_view_gid.argtypes, escrow.escrow_view_gid.restype = [pointer], text
escrow.escrow_view_db_id.argtypes, escrow.escrow_view_db_id.restype = [pointer], pointer
escrow.escrow_close.argtypes = [pointer, ctypes.c_int]
escrow.escrow_last_error.restype = text


def must(status):
    if status:
        raise RuntimeError(escrow.escrow_last_error().decode())


def connect(path, seconds):
    """Transactions are begun and ended by hand, so that their statements are those of TABLES.md."""
    return sqlite3.connect(path, timeout=seconds, isolation_level=None, check_same_thread=False)


def install(db):
    db.execute("CREATE TABLE IF NOT EXISTS escrow_fence (gid BLOB NOT NULL PRIMARY KEY, state INTEGER NOT NULL, "
               "who BLOB) WITHOUT ROWID")
    db.execute("CREATE TABLE IF NOT EXISTS escrow_meta (id INTEGER NOT NULL PRIMARY KEY, db_id BLOB NOT NULL, "
               "low BLOB NOT NULL) WITHOUT ROWID")
    db.execute("INSERT INTO escrow_meta (id, db_id, low) VALUES (1, ?, ?) ON CONFLICT (id) DO NOTHING",
               (os.urandom(16), bytes(16)))
    db.execute("CREATE TABLE IF NOT EXISTS orders (id, item, pieces CHECK (pieces < 10))")
    return db.execute("SELECT db_id, low FROM escrow_meta WHERE id = 1").fetchone()[0]


def fence(db, gid, state, db_id):
    """Inserts first, looks afterwards.  None: mine, go on; else roll back, and tell this."""
    mine = db.execute("INSERT INTO escrow_fence (gid, state, who) VALUES (?, ?, ?) ON CONFLICT (gid) DO NOTHING",
                      (gid, state, b"python:%d" % os.getpid())).rowcount == 1
    here, low = db.execute("SELECT db_id, low FROM escrow_meta WHERE id = 1").fetchone()
    if here != db_id or gid < low:
        return UNKNOWN
    if mine:
        return None
    row = db.execute("SELECT state FROM escrow_fence WHERE gid = ?", (gid,)).fetchone()
    return {COMMITTED: COMMIT, ROLLED_BACK: ROLLBACK}[row[0]] if row else UNKNOWN


def roll_back(db):
    if db.in_transaction:
        db.execute("ROLLBACK")


def sell(db, gid, db_id, order):
    """The local transaction: what to tell Escrow."""
    try:
        db.execute("BEGIN IMMEDIATE")
        told = fence(db, gid, COMMITTED, db_id)
        if told is None:
            db.execute("INSERT INTO orders VALUES (?, ?, ?)", order)
    except sqlite3.Error:
        told = ROLLBACK
    if told is not None:
        roll_back(db)
        return told
    try:
        db.execute("COMMIT")
        return COMMIT
    except sqlite3.Error:  # nobody knows: Escrow will ask
        roll_back(db)
        return UNKNOWN


def check(db, gid, half_db_id, db_id):
    """What became of it?"""
    if half_db_id != db_id:
        return UNKNOWN
    try:
        db.execute("BEGIN IMMEDIATE")
        told = fence(db, gid, ROLLED_BACK, db_id)
        if told is None:
            db.execute("COMMIT")  # only now can nobody commit it any more
            return ROLLBACK
        db.execute("ROLLBACK")
        return told
    except sqlite3.Error:
        roll_back(db)
        return UNKNOWN


def main(address, path, item, orders):
    client, txn = pointer(), pointer()
    sales, checks = connect(path, 10), connect(path, 1)  # one for each thread
    db_id = install(sales)

    def on_check(view, _):
        half_db_id = escrow.escrow_view_db_id(view)
        return check(checks, bytes.fromhex(escrow.escrow_view_gid(view).decode()),
                     half_db_id and ctypes.string_at(half_db_id, 16), db_id)

    listener = Check(on_check)  # must live as long as the client
    must(escrow.escrow_open(ctypes.byref(client), b"escrow://%s?group=order-python" % address.encode()))
    must(escrow.escrow_on_check(client, None, listener, None))
    for _ in range(int(orders)):
        order = (str(uuid.uuid4()), item, random.randint(1, 10))
        value = ("%s %d %s" % (order[0], order[2], item)).encode()
        message = Message(ctypes.sizeof(Message), b"orders", item.encode(), len(item.encode()), value, len(value), None, 0, -1)
        opts = HalfOpts(struct_size=ctypes.sizeof(HalfOpts), db_id=db_id)
        while escrow.escrow_half_send(client, message, 1, opts, ctypes.byref(txn)):  # there is no transaction: again
            print("order.py: %s" % escrow.escrow_last_error().decode(), file=sys.stderr)
        told = sell(sales, bytes.fromhex(escrow.escrow_txn_gid(txn).decode()), db_id, order)
        escrow.escrow_decide(ctypes.byref(txn), told, None)  # what gets lost is asked about
    print("sold", flush=True)
    sys.stdin.read()
    must(escrow.escrow_close(client, 5000))


if __name__ == "__main__":
    main(*sys.argv[1:])
