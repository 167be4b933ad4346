/*
 * Read.java -- what RocketMQ's consumers can see of a topic, now: one JSON line a message.
 *
 *     java Read NAMESRV TOPIC
 */
import java.util.Base64;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

@SuppressWarnings("deprecation") // it reads from one offset to another, which newer ones hide
public final class Read {
	private static String text(String s) {
		return s == null ? "null" : "\"" + Base64.getEncoder().encodeToString(s.getBytes(java.nio.charset.StandardCharsets.UTF_8)) + "\"";
	}

	public static void main(String[] args) throws Exception {
		DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("reader");

		consumer.setNamesrvAddr(args[0]);
		consumer.start();
		for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(args[1])) {
			long end = consumer.maxOffset(queue);

			for (long at = consumer.minOffset(queue); at < end;) {
				PullResult pulled = consumer.pull(queue, "*", at, 32);

				if (pulled.getMsgFoundList() != null)
					for (MessageExt m : pulled.getMsgFoundList())
						System.out.printf("{\"id\": %s, \"key\": %s, \"color\": %s, \"body\": \"%s\"}%n",
							text(m.getProperty("UNIQ_KEY")), text(m.getKeys()), text(m.getProperty("color")),
							Base64.getEncoder().encodeToString(m.getBody()));
				at = pulled.getNextBeginOffset();
			}
		}
		consumer.shutdown();
		System.exit(0);
	}
}
