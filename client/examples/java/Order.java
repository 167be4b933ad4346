/*
 * Order.java -- a service that sells, with RocketMQ's own client: an order in its database and a
 * message to the stock, or neither.
 *
 *     java Order ESCROW DATABASE ITEM ORDERS             e.g. 127.0.0.1:9876 orders.db shoes 100
 *
 * Kill it at any instant: an order that is in the database is heard of by Stock.java, and one that
 * is not never is.  When it has sold it stays, until its standard input ends, to answer what
 * Escrow asks: for itself, and for those of its group that are gone.
 */
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import java.util.UUID;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

public final class Order implements TransactionListener {
	private static final int COMMITTED = 1, ROLLED_BACK = 2;
	private static final LocalTransactionState COMMIT = LocalTransactionState.COMMIT_MESSAGE;
	private static final LocalTransactionState ROLLBACK = LocalTransactionState.ROLLBACK_MESSAGE;
	private static final LocalTransactionState UNKNOWN = LocalTransactionState.UNKNOW;

	record Sale(String id, String item, int pieces) { }

	private final Connection sales, checks; // one for each thread
	private final byte[] dbId;

	Order(String database) throws SQLException {
		sales = DriverManager.getConnection("jdbc:sqlite:" + database + "?busy_timeout=10000");
		checks = DriverManager.getConnection("jdbc:sqlite:" + database + "?busy_timeout=1000");
		run(sales, "CREATE TABLE IF NOT EXISTS escrow_fence (gid BLOB NOT NULL PRIMARY KEY, "
			+ "state INTEGER NOT NULL, who BLOB) WITHOUT ROWID");
		run(sales, "CREATE TABLE IF NOT EXISTS escrow_meta (id INTEGER NOT NULL PRIMARY KEY, "
			+ "db_id BLOB NOT NULL, low BLOB NOT NULL) WITHOUT ROWID");
		run(sales, "CREATE TABLE IF NOT EXISTS orders (id, item, pieces CHECK (pieces < 10))");
		byte[] fresh = HexFormat.of().parseHex(UUID.randomUUID().toString().replace("-", ""));
		run(sales, "INSERT INTO escrow_meta (id, db_id, low) VALUES (1, ?, ?) ON CONFLICT (id) DO NOTHING",
			fresh, new byte[16]);
		dbId = meta(sales)[0];
	}

	/* The local transaction: called when the half-send was answered, in the thread that sent. */
	@Override
	public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
		byte[] gid = HexFormat.of().parseHex(m.getUserProperty("__transactionId__"));
		Sale sale = (Sale) arg;
		boolean committing = false;

		try {
			run(sales, "BEGIN IMMEDIATE");
			boolean mine = insert(sales, gid, COMMITTED);
			byte[][] meta = meta(sales);
			if (!Arrays.equals(meta[0], dbId) || Arrays.compareUnsigned(gid, meta[1]) < 0)
				return rolledBack(sales, UNKNOWN);
			if (!mine)
				return rolledBack(sales, answer(state(sales, gid)));
			run(sales, "INSERT INTO orders VALUES (?, ?, ?)", sale.id, sale.item, sale.pieces);
			committing = true;
			run(sales, "COMMIT");
			return COMMIT;
		} catch (SQLException e) { // of a COMMIT that failed nobody knows: Escrow will ask
			return rolledBack(sales, committing ? UNKNOWN : ROLLBACK);
		}
	}

	/* What became of it?  Insert first, look afterwards: TABLES.md says why. */
	@Override
	public LocalTransactionState checkLocalTransaction(MessageExt m) {
		byte[] gid = HexFormat.of().parseHex(m.getUserProperty("__transactionId__"));

		if (!HexFormat.of().formatHex(dbId).equals(m.getUserProperty("ESCROW_DB")))
			return UNKNOWN;
		try {
			run(checks, "BEGIN IMMEDIATE");
			boolean mine = insert(checks, gid, ROLLED_BACK);
			byte[][] meta = meta(checks);
			if (!Arrays.equals(meta[0], dbId) || Arrays.compareUnsigned(gid, meta[1]) < 0)
				return rolledBack(checks, UNKNOWN);
			if (!mine)
				return rolledBack(checks, answer(state(checks, gid)));
			run(checks, "COMMIT"); // only now can nobody commit it any more
			return ROLLBACK;
		} catch (SQLException e) {
			return rolledBack(checks, UNKNOWN);
		}
	}

	private static LocalTransactionState answer(int state) {
		return state == COMMITTED ? COMMIT : state == ROLLED_BACK ? ROLLBACK : UNKNOWN;
	}

	private static boolean insert(Connection db, byte[] gid, int state) throws SQLException {
		return run(db, "INSERT INTO escrow_fence (gid, state, who) VALUES (?, ?, ?) ON CONFLICT (gid) DO NOTHING",
			gid, state, ("java:" + ProcessHandle.current().pid()).getBytes()) == 1;
	}

	private static int state(Connection db, byte[] gid) throws SQLException {
		try (PreparedStatement s = db.prepareStatement("SELECT state FROM escrow_fence WHERE gid = ?")) {
			s.setBytes(1, gid);
			ResultSet row = s.executeQuery();
			return row.next() ? row.getInt(1) : 0;
		}
	}

	private static byte[][] meta(Connection db) throws SQLException {
		try (PreparedStatement s = db.prepareStatement("SELECT db_id, low FROM escrow_meta WHERE id = 1")) {
			ResultSet row = s.executeQuery();
			row.next();
			return new byte[][] { row.getBytes(1), row.getBytes(2) };
		}
	}

	private static int run(Connection db, String sql, Object... values) throws SQLException {
		try (PreparedStatement s = db.prepareStatement(sql)) {
			for (int i = 0; i < values.length; i++)
				s.setObject(i + 1, values[i]);
			return s.executeUpdate();
		}
	}

	private static LocalTransactionState rolledBack(Connection db, LocalTransactionState answer) {
		try {
			run(db, "ROLLBACK");
		} catch (SQLException e) {
			// there is no transaction any more
		}
		return answer;
	}

	/* Until it is half-sent.  What failed was not, or its check finds no order and rolls it back. */
	private void sell(TransactionMQProducer producer, Sale sale) throws Exception {
		for (;;) {
			Message m = new Message("orders", null, sale.item,
				(sale.id + " " + sale.pieces + " " + sale.item).getBytes("UTF-8"));

			m.putUserProperty("ESCROW_DB", HexFormat.of().formatHex(dbId));
			try {
				producer.sendMessageInTransaction(m, sale);
				return;
			} catch (MQClientException e) { // no local transaction ran
				System.err.println(e.getMessage());
			}
		}
	}

	public static void main(String[] args) throws Exception {
		TransactionMQProducer producer = new TransactionMQProducer("order-java");
		Order order = new Order(args[1]);
		Random random = new Random();

		producer.setNamesrvAddr(args[0]);
		producer.setTransactionListener(order);
		producer.start();
		for (int i = 0; i < Integer.parseInt(args[3]); i++)
			order.sell(producer, new Sale(UUID.randomUUID().toString(), args[2], 1 + random.nextInt(10)));
		System.out.println("sold");
		while (System.in.read() >= 0)
			;
		producer.shutdown();
		System.exit(0);
	}
}
