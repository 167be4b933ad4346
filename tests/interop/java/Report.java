/*
 * Report.java -- what the client did and saw, as JSON lines for tests/interop/run.
 *
 *   {"expect": scenario, "topic", "key", "partition", "body", "headers": {...}, "uniq", "gid", "group"}
 *   {"check": scenario, "uniq", "n", "answer"}    {"fail": scenario, "why"}    {"done": scenario}
 */
import java.io.PrintStream;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

final class Report {
	/* What clients add for the broker alone; everything else a consumer must find. */
	private static final Set<String> NOT_PUBLISHED = Set.of("TRAN_MSG", "PGROUP", "WAIT", "UNIQ_KEY",
		"__transactionId__", "__SHARDINGKEY", "CLUSTER", "INSTANCE_ID", "TAGS", "KEYS");
	private static final PrintStream OUT = System.out;
	private static final Map<String, byte[]> CHECKED = new ConcurrentHashMap<>();

	private Report() {
	}

	static void expect(String scenario, Message m, String gid, String group, int partition) {
		Map<String, String> headers = new TreeMap<>();
		String key = m.getProperty("__SHARDINGKEY");

		if (key == null && m.getKeys() != null)
			key = m.getKeys().split(" ")[0];
		m.getProperties().forEach((name, value) -> {
			if (!NOT_PUBLISHED.contains(name))
				headers.put(name, value);
		});
		if (m.getTags() != null)
			headers.put("TAGS", m.getTags());
		if (m.getKeys() != null)
			headers.put("KEYS", m.getKeys());
		StringBuilder list = new StringBuilder();
		headers.forEach((name, value) -> list.append(list.length() == 0 ? "" : ",")
			.append(quote(name)).append(':').append(quote(value)));
		line("{\"expect\":" + quote(scenario) + ",\"topic\":" + quote(m.getTopic()) + ",\"key\":" + quote(key)
			+ ",\"partition\":" + partition + ",\"body\":" + quote(Base64.getEncoder().encodeToString(m.getBody()))
			+ ",\"headers\":{" + list + "},\"uniq\":" + quote(m.getProperty("UNIQ_KEY")) + ",\"gid\":" + quote(gid)
			+ ",\"group\":" + quote(group) + "}");
	}

	static void check(MessageExt m, int n, String answer) {
		CHECKED.put(m.getProperty("UNIQ_KEY"), m.getBody());
		line("{\"check\":" + quote(m.getUserProperty("scenario")) + ",\"uniq\":" + quote(m.getProperty("UNIQ_KEY")) + ",\"n\":" + n
			+ ",\"times\":" + quote(m.getProperty("TRANSACTION_CHECK_TIMES")) + ",\"answer\":" + quote(answer) + "}");
	}

	/* The body that came with the check is the one that was half-sent. */
	static boolean sameBodies(Message m) {
		return Arrays.equals(m.getBody(), CHECKED.get(m.getProperty("UNIQ_KEY")));
	}

	static void require(String scenario, boolean holds, String why) {
		if (!holds)
			fail(scenario, why);
	}

	static void fail(String scenario, String why) {
		line("{\"fail\":" + quote(scenario) + ",\"why\":" + quote(why) + "}");
	}

	static void done(String scenario) {
		line("{\"done\":" + quote(scenario) + "}");
	}

	private static synchronized void line(String text) {
		OUT.println(text);
		OUT.flush();
	}

	private static String quote(String s) {
		StringBuilder b = new StringBuilder("\"");

		if (s == null)
			return "null";
		for (char c : s.toCharArray()) {
			if (c == '"' || c == '\\')
				b.append('\\').append(c);
			else if (c < 0x20 || c > 0x7e)
				b.append(String.format("\\u%04x", (int) c));
			else
				b.append(c);
		}
		return b.append('"').toString();
	}
}
