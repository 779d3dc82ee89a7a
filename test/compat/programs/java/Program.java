// SPDX-License-Identifier: Apache-2.0

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The Java client as a compat client. The contract of the verbs is in test/compat/README.md. One verb more than the
 * others have: {@code describe BOOTSTRAP TOPIC...} prints the cluster id, and id and partition count of each topic.
 */
public final class Program {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] args) throws Exception {
    String[] rest = Arrays.copyOfRange(args, 2, args.length);
    switch (args[0]) {
      case "create" -> create(args[1], Integer.parseInt(rest[0]), Arrays.asList(rest).subList(1, rest.length));
      case "produce" -> produce(args[1], rest[0], rest[1], rest[2], rest.length > 3 && rest[3].equals("--idempotent"));
      case "consume" -> consume(args[1], rest[0], rest[1], Integer.parseInt(rest[2]),
          rest.length > 3 && rest[3].equals("--once"));
      case "describe" -> describe(args[1], Arrays.asList(rest));
      default -> throw new IllegalArgumentException("unknown verb " + args[0]);
    }
  }

  private static void create(String bootstrap, int partitions, List<String> topics) throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      admin.createTopics(topics.stream().map(topic -> new NewTopic(topic, partitions, (short) 1)).toList()).all().get();
    }
  }

  private static void describe(String bootstrap, List<String> topics) throws Exception {
    ObjectNode result = JSON.createObjectNode();
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      result.put("clusterId", admin.describeCluster().clusterId().get());
      for (TopicDescription topic : admin.describeTopics(topics).allTopicNames().get().values()) {
        result.withObjectProperty(topic.name()).put("id", topic.topicId().toString()).put("partitions",
            topic.partitions().size());
      }
    }
    System.out.println(result);
  }

  private static void produce(String bootstrap, String topic, String file, String codec, boolean idempotent)
      throws Exception {
    Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "acks", "all", "compression.type", codec,
        "enable.idempotence", idempotent, "linger.ms", 20);
    List<Future<?>> sent = new ArrayList<>();
    try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (String text : Files.readAllLines(Path.of(file))) {
        JsonNode line = JSON.readTree(text);
        List<Header> headers = new ArrayList<>();
        for (JsonNode pair : line.get("headers")) {
          headers.add(new RecordHeader(pair.get(0).textValue(), bytes(pair.get(1))));
        }
        sent.add(producer.send(new ProducerRecord<>(topic, line.get("partition").intValue(),
            line.get("timestamp").longValue(), bytes(line.get("key")), bytes(line.get("value")), headers)));
      }
      producer.flush();
      for (Future<?> each : sent) {
        each.get();
      }
    }
  }

  private static void consume(String bootstrap, String topics, String group, int count, boolean once)
      throws Exception {
    Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset",
        "earliest", "enable.auto.commit", false);
    List<String> lines = new ArrayList<>();
    Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(topics.split(",")));
      while (lines.size() < count) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
          if (lines.size() == count) {
            break;
          }
          TopicPartition place = new TopicPartition(record.topic(), record.partition());
          if (once && next.containsKey(place) && record.offset() < next.get(place).offset()) {
            continue;
          }
          next.put(place, new OffsetAndMetadata(record.offset() + 1));
          lines.add(toLine(record));
        }
      }
      consumer.commitSync(next);
    }
    try (var out = new PrintStream(new BufferedOutputStream(System.out), false, StandardCharsets.UTF_8)) {
      lines.forEach(out::println);
    }
  }

  private static String toLine(ConsumerRecord<byte[], byte[]> record) {
    ObjectNode line = JSON.createObjectNode();
    line.put("topic", record.topic()).put("partition", record.partition()).put("offset", record.offset());
    line.put("key", record.key()).put("value", record.value()).put("timestamp", record.timestamp());
    ArrayNode headers = line.putArray("headers");
    for (Header header : record.headers()) {
      headers.addArray().add(header.key()).add(header.value());
    }
    return line.toString();
  }

  private static byte[] bytes(JsonNode text) throws Exception {
    return text.isNull() ? null : text.binaryValue();
  }
}
