/*
 * Stock.java -- a service that keeps the stock, with Kafka's own client: each order is taken from
 * it exactly once.
 *
 *     java Stock KAFKA DATABASE INSTANCE                 e.g. 127.0.0.1:9092 stock.db stock-1
 *
 * INSTANCE is this process's place in its group: started again under that name, it has its
 * partitions at once, and nobody waits for a session to run out.  Kill it at any instant.
 *
 * What cannot be applied ends the process, and its message is the first when it starts again.  A
 * service that must go on would write it to a topic of dead letters first.
 */
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class Stock {
	private static final byte[] NAME = "stock-java".getBytes(StandardCharsets.US_ASCII);

	private final Connection db;

	Stock(String database) throws SQLException {
		db = DriverManager.getConnection("jdbc:sqlite:" + database + "?busy_timeout=10000");
		run("CREATE TABLE IF NOT EXISTS escrow_dedup (consumer BLOB NOT NULL, msg BLOB NOT NULL, seen INTEGER, "
			+ "PRIMARY KEY (consumer, msg)) WITHOUT ROWID");
		run("CREATE TABLE IF NOT EXISTS escrow_meta_c (consumer BLOB NOT NULL PRIMARY KEY, low BLOB NOT NULL) "
			+ "WITHOUT ROWID");
		run("CREATE TABLE IF NOT EXISTS sold (id, item, pieces)");
	}

	/* Its effect is durable when this returns, from now or from before. */
	private void apply(ConsumerRecord<byte[], byte[]> record) throws SQLException {
		byte[] msg = id(record);

		run("BEGIN IMMEDIATE");
		try {
			boolean fresh = run("INSERT INTO escrow_dedup (consumer, msg, seen) VALUES (?, ?, ?) "
				+ "ON CONFLICT (consumer, msg) DO NOTHING", NAME, msg, null) == 1;
			if (Arrays.compareUnsigned(msg, 0, 16, low(), 0, 16) < 0)
				throw new SQLException("older than is remembered: applied or not, nobody knows");
			if (fresh) {
				String[] order = new String(record.value(), StandardCharsets.UTF_8).split(" ", 3);
				run("INSERT INTO sold VALUES (?, ?, ?)", order[0], order[2], Integer.valueOf(order[1]));
			}
			run("COMMIT");
		} catch (SQLException | RuntimeException e) {
			run("ROLLBACK");
			throw e;
		}
	}

	/* escrow-id, `<gid>-<ordinal>`, as 16 and 2 bytes. */
	private static byte[] id(ConsumerRecord<byte[], byte[]> record) {
		Header header = record.headers().lastHeader("escrow-id");
		String[] parts = new String(header.value(), StandardCharsets.US_ASCII).split("-");

		return ByteBuffer.allocate(18).put(HexFormat.of().parseHex(parts[0]))
			.putShort((short) Integer.parseInt(parts[1])).array();
	}

	private byte[] low() throws SQLException {
		try (PreparedStatement s = db.prepareStatement("SELECT low FROM escrow_meta_c WHERE consumer = ?")) {
			s.setBytes(1, NAME);
			ResultSet row = s.executeQuery();
			return row.next() ? row.getBytes(1) : new byte[16];
		}
	}

	private int run(String sql, Object... values) throws SQLException {
		try (PreparedStatement s = db.prepareStatement(sql)) {
			for (int i = 0; i < values.length; i++)
				s.setObject(i + 1, values[i]);
			return s.executeUpdate();
		}
	}

	public static void main(String[] args) throws Exception {
		Stock stock = new Stock(args[1]);
		Properties p = new Properties();

		p.put("bootstrap.servers", args[0]);
		p.put("group.id", "stock-java");
		p.put("group.instance.id", args[2]);
		p.put("auto.offset.reset", "earliest");
		p.put("enable.auto.commit", "false"); // only behind a durable effect
		try (KafkaConsumer<byte[], byte[]> kafka =
			     new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
			kafka.subscribe(List.of("orders"));
			for (;;) {
				ConsumerRecords<byte[], byte[]> records = kafka.poll(Duration.ofSeconds(1));
				for (ConsumerRecord<byte[], byte[]> record : records)
					stock.apply(record);
				if (!records.isEmpty())
					kafka.commitAsync(); // losing it costs nothing
			}
		}
	}
}
