/*
 * Interop.java -- the official RocketMQ client, used as an application would use it.
 *
 *     java Interop ADDRESS GROUP run      the scenarios below, then waits for the end of stdin
 *     java Interop ADDRESS GROUP die      half-sends, and is gone before its END
 *
 * It prints JSON lines (Report.java) that say what a Kafka consumer must find and what the
 * client saw; tests/interop/run compares them with what Kafka holds.  What the local
 * transaction "did" travels in the message, in the property `checks`, so that any producer
 * of the group can answer for any other, as real ones look into a common database.
 */
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.common.utils.Utils;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;

public final class Interop {
	private static final LocalTransactionState COMMIT = LocalTransactionState.COMMIT_MESSAGE;
	private static final LocalTransactionState ROLLBACK = LocalTransactionState.ROLLBACK_MESSAGE;
	private static final LocalTransactionState UNKNOWN = LocalTransactionState.UNKNOW;
	private static final int PARTITIONS = 3;
	private static final String TOPIC = "orders"; // max.message.bytes as Kafka has it by default
	private static final String BIG = "big"; // raised to 2 MiB, as is the daemon's limit

	private final Random random = new Random(4711);
	private final TransactionMQProducer producer;
	private final Answers answers = new Answers();
	private final String group;

	/* Answers checks by the message's own `checks`: "unknown,commit", the last one for ever. */
	private static final class Answers implements TransactionListener {
		final Map<String, AtomicInteger> asked = new ConcurrentHashMap<>();
		final Map<String, CountDownLatch> decided = new ConcurrentHashMap<>();
		final Map<String, Hold> holds = new ConcurrentHashMap<>();

		CountDownLatch decidedOf(String scenario) {
			return decided.computeIfAbsent(scenario, s -> new CountDownLatch(1));
		}

		@Override
		public LocalTransactionState executeLocalTransaction(Message m, Object outcome) {
			if (outcome == null) { // the producer dies inside its local transaction
				Report.expect("killed", m, m.getUserProperty("__transactionId__"), m.getProperty("PGROUP"), -1);
				Runtime.getRuntime().halt(9);
			}
			return (LocalTransactionState) outcome;
		}

		@Override
		public LocalTransactionState checkLocalTransaction(MessageExt m) {
			int n = asked.computeIfAbsent(m.getProperty("UNIQ_KEY"), k -> new AtomicInteger()).getAndIncrement();
			String[] plan = m.getUserProperty("checks").split(",");
			String answer = plan[Math.min(n, plan.length - 1)];
			Hold hold = holds.remove(m.getUserProperty("scenario"));

			Report.check(m, n, answer);
			if (hold != null) {
				hold.asked.countDown();
				hold.await(hold.go);
			}
			switch (answer) {
			case "commit":
				decidedOf(m.getUserProperty("scenario")).countDown();
				return COMMIT;
			case "rollback":
				if (n == plan.length - 1)
					decidedOf(m.getUserProperty("scenario")).countDown();
				return ROLLBACK;
			case "unknown":
				return UNKNOWN;
			default:
				throw new IllegalStateException("the database is down"); // counts as unknown
			}
		}
	}

	/* A check that was asked and is not answered yet. */
	private static final class Hold {
		final CountDownLatch asked = new CountDownLatch(1);
		final CountDownLatch go = new CountDownLatch(1);

		void await(CountDownLatch latch) {
			try {
				if (!latch.await(60, TimeUnit.SECONDS))
					throw new IllegalStateException("nothing happened for a minute");
			} catch (InterruptedException e) {
				throw new IllegalStateException(e);
			}
		}
	}

	private interface Scenario {
		void run(String name) throws Exception;
	}

	private Interop(String address, String group) throws MQClientException {
		this.group = group;
		producer = new TransactionMQProducer(group);
		producer.setNamesrvAddr(address);
		producer.setSendMsgTimeout(15000);
		producer.setTransactionListener(answers);
		producer.start();
	}

	private Message message(String scenario, String checks, byte[] body) {
		Message m = new Message(TOPIC, "tag-" + scenario, null, body);

		m.putUserProperty("scenario", scenario);
		m.putUserProperty("checks", checks);
		return m;
	}

	private byte[] randomBody(int n) {
		byte[] body = new byte[n];

		random.nextBytes(body);
		return body;
	}

	private TransactionSendResult send(Message m, LocalTransactionState outcome) throws MQClientException {
		return producer.sendMessageInTransaction(m, outcome);
	}

	/* Half-sends M and decides as OUTCOME says; when it is a commit, Kafka must have it. */
	private TransactionSendResult decide(String name, Message m, LocalTransactionState outcome, int partition)
			throws MQClientException {
		TransactionSendResult r = send(m, outcome);

		Report.require(name, r.getTransactionId().matches("[0-9A-Fa-f]{32}"), "no gid: " + r);
		if (outcome == COMMIT)
			Report.expect(name, m, r.getTransactionId(), group, partition);
		return r;
	}

	/*
	 * END is one-way and may leave after the next request (5.x hands it to another thread):
	 * a question that was answered shows that it has left.
	 */
	private void settled() throws MQClientException {
		producer.fetchPublishMessageQueues(TOPIC);
	}

	private static int javaPartition(String key) {
		return Utils.toPositive(Utils.murmur2(key.getBytes(StandardCharsets.UTF_8))) % PARTITIONS;
	}

	/* The call must be refused with CODE before any local transaction runs. */
	private static String refused(String name, int code, Scenario call) {
		try {
			call.run(name);
			Report.fail(name, "was not refused");
		} catch (Throwable thrown) {
			for (Throwable t = thrown; t != null; t = t.getCause()) {
				int got = t instanceof MQBrokerException ? ((MQBrokerException) t).getResponseCode()
					: t instanceof MQClientException ? ((MQClientException) t).getResponseCode() : -1;

				if (got == code)
					return String.valueOf(t.getMessage());
			}
			Report.fail(name, "refused otherwise: " + thrown);
		}
		return "";
	}

	private void checked(String name, String checks, boolean committed) throws Exception {
		Message m = message(name, checks, randomBody(100));
		TransactionSendResult r = send(m, UNKNOWN);

		if (committed)
			Report.expect(name, m, r.getTransactionId(), group, -1);
		Report.require(name, answers.decidedOf(name).await(60, TimeUnit.SECONDS), "no check came");
		Report.require(name, answers.asked.get(r.getMsgId()).get() == checks.split(",").length,
			"asked " + answers.asked.get(r.getMsgId()) + " times for " + checks);
	}

	private void bodies(String name) throws Exception {
		byte[] text = "all work and no play makes a dull broker. ".repeat(125).getBytes(StandardCharsets.UTF_8);

		decide(name, message(name, "commit", randomBody(1024)), COMMIT, -1);
		decide(name, message(name, "commit", text), COMMIT, -1); // 5,250 B: the client compresses
		decide(name, message(name, "commit", randomBody(5 << 10)), COMMIT, -1);
		Message one = message(name, "commit", new byte[] {0});
		one.setTags(null);
		decide(name, one, COMMIT, -1);
	}

	/* A compressed body that has to be asked about: RocketMQ's own issue 1375. */
	private void compressedChecked(String name) throws Exception {
		byte[] text = "who will rid me of this turbulent byte? ".repeat(200).getBytes(StandardCharsets.UTF_8);
		Message m = message(name, "unknown,commit", text);

		Report.expect(name, m, send(m, UNKNOWN).getTransactionId(), group, -1);
		Report.require(name, answers.decidedOf(name).await(60, TimeUnit.SECONDS), "no check came");
		Report.require(name, Report.sameBodies(m), "the check carried another body");
	}

	private void mebibyte(String name) throws Exception {
		Message m = message(name, "commit", randomBody(1 << 20));

		m.setTopic(BIG);
		decide(name, m, COMMIT, 0);
		Message refused = message(name, "commit", randomBody(1 << 20));
		refused(name, 13, n -> send(refused, COMMIT));
	}

	private void keys(String name) throws Exception {
		for (int i = 0; i < 30; i++) {
			String key = i % 3 == 0 ? "kunde-" + i % 10 : i % 3 == 1 ? "客户" + i % 10 : "k" + i % 10;
			Message m = message(name, "commit", randomBody(20));

			if (i % 2 == 0) { // the first of KEYS...
				m.setKeys(List.of(key, "another"));
			} else { // ...unless there is a sharding key
				m.setKeys("ignored");
				MessageAccessor.putProperty(m, "__SHARDINGKEY", key);
			}
			m.putUserProperty("n", String.valueOf(i));
			decide(name, m, COMMIT, javaPartition(key));
		}
	}

	private void unicode(String name) throws Exception {
		Message m = message(name, "commit", "Grüße, 世界 🎉".getBytes(StandardCharsets.UTF_8));

		m.setTags("Straße");
		m.putUserProperty("größe", "ﬃ Å 🎉");
		m.putUserProperty("数", "一二三");
		m.putUserProperty("quote", "\"\\{}\n\t=,;");
		m.putUserProperty("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
		decide(name, m, COMMIT, -1);
	}

	private void againUndecided(String name) throws Exception {
		Message m = message(name, "unknown", randomBody(200));
		TransactionSendResult first = send(m, UNKNOWN);
		TransactionSendResult second = decide(name, m, COMMIT, -1);

		Report.require(name, first.getMsgId().equals(second.getMsgId()), "the client made a new UNIQ_KEY");
		Report.require(name, first.getTransactionId().equals(second.getTransactionId()), "another gid");
		Report.require(name, first.getQueueOffset() == second.getQueueOffset(), "another token");
	}

	/*
	 * A check is asked; before it is answered the application sends the message again and
	 * begins a new local transaction.  "There is no such order" was true and is no more.
	 */
	private void againAsked(String name) throws Exception {
		Message m = message(name, "rollback,commit", randomBody(200));
		Hold hold = new Hold();

		answers.holds.put(name, hold);
		TransactionSendResult first = send(m, UNKNOWN);
		hold.await(hold.asked);
		TransactionSendResult second = send(m, UNKNOWN);
		hold.go.countDown(); // the answer ROLLBACK, of the older generation
		Report.require(name, first.getTransactionId().equals(second.getTransactionId()), "another gid");
		Report.require(name, answers.decidedOf(name).await(60, TimeUnit.SECONDS), "not asked again");
		Report.expect(name, m, second.getTransactionId(), group, -1);
	}

	private void againRolledBack(String name) throws Exception {
		Message m = message(name, "unknown", randomBody(200));
		TransactionSendResult first = send(m, ROLLBACK);
		settled();
		TransactionSendResult second = decide(name, m, COMMIT, -1);

		Report.require(name, first.getMsgId().equals(second.getMsgId()), "the client made a new UNIQ_KEY");
		Report.require(name, !first.getTransactionId().equals(second.getTransactionId()), "the gid of a rolled back one");
	}

	private void againCommitted(String name) throws Exception {
		Message m = message(name, "commit", randomBody(200));
		TransactionSendResult first = decide(name, m, COMMIT, -1);
		settled();
		Message copy = message(name, "commit", m.getBody());

		MessageAccessor.putProperty(copy, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, first.getMsgId());
		String remark = refused(name, 13, n -> send(copy, COMMIT));
		Report.require(name, remark.toLowerCase().contains(first.getTransactionId().toLowerCase()),
			"the refusal does not name the gid: " + remark);
		TransactionSendResult second = decide(name, m, COMMIT, -1); // carries __transactionId__: on purpose
		Report.require(name, !first.getTransactionId().equals(second.getTransactionId()), "the gid of the first");
	}

	private void againOtherBody(String name) throws Exception {
		Message m = message(name, "rollback", randomBody(200));
		TransactionSendResult first = send(m, UNKNOWN);
		Message other = message(name, "commit", randomBody(200));

		MessageAccessor.putProperty(other, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, first.getMsgId());
		refused(name, 13, n -> send(other, COMMIT));
		Report.require(name, answers.decidedOf(name).await(60, TimeUnit.SECONDS), "no check came");
	}

	private void plain(String name) throws Exception {
		DefaultMQProducer sender = producer;
		Message m = message(name, "commit", randomBody(300));
		Message oneway = message(name, "commit", randomBody(300));
		SendResult sent = sender.send(m);

		Report.expect(name, m, null, group, -1);
		Report.require(name, sent.getMsgId() != null, "no message id");
		sender.sendOneway(oneway);
		Report.expect(name, oneway, null, group, -1);
		List<Message> batch = new ArrayList<>();
		batch.add(message(name, "commit", randomBody(30)));
		batch.add(message(name, "commit", randomBody(30)));
		refused(name, 13, n -> sender.send(batch));
		Message late = message(name, "commit", randomBody(30));
		late.setDelayTimeLevel(3);
		refused(name, 13, n -> sender.send(late));
	}

	private void refusals(String name) {
		Message unknown = message(name, "commit", randomBody(30));
		Message ours = message(name, "commit", randomBody(30));

		unknown.setTopic("no-such-topic");
		refused(name, 17, n -> send(unknown, COMMIT));
		ours.putUserProperty("escrow-id", "mine");
		refused(name, 13, n -> send(ours, COMMIT));
	}

	private static void scenario(String name, Scenario s) {
		try {
			s.run(name);
		} catch (Throwable t) {
			Report.fail(name, String.valueOf(t));
		}
		Report.done(name);
	}

	private void run() {
		scenario("commit", n -> decide(n, message(n, "commit", randomBody(64)), COMMIT, -1));
		scenario("rollback", n -> decide(n, message(n, "commit", randomBody(64)), ROLLBACK, -1));
		scenario("killed", n -> Report.require(n, answers.decidedOf(n).await(60, TimeUnit.SECONDS),
			"nobody was asked for the dead producer"));
		scenario("check-commit", n -> checked(n, "commit", true));
		scenario("check-rollback", n -> checked(n, "rollback", false));
		scenario("check-again", n -> checked(n, "unknown,throw,commit", true));
		scenario("check-compressed", this::compressedChecked);
		scenario("bodies", this::bodies);
		scenario("mebibyte", this::mebibyte);
		scenario("keys", this::keys);
		scenario("unicode", this::unicode);
		scenario("again-undecided", this::againUndecided);
		scenario("again-asked", this::againAsked);
		scenario("again-rolled-back", this::againRolledBack);
		scenario("again-committed", this::againCommitted);
		scenario("again-other-body", this::againOtherBody);
		scenario("plain", this::plain);
		scenario("refusals", this::refusals);
	}

	private void die() throws Exception {
		send(message("killed", "commit", randomBody(64)), null);
	}

	public static void main(String[] args) throws Exception {
		Interop interop = new Interop(args[0], args[1]);

		if (args[2].equals("die")) {
			interop.die();
		} else {
			interop.run();
			System.in.read(); // stay, to be asked, until Kafka was read
			interop.producer.shutdown();
		}
		System.exit(0);
	}
}
