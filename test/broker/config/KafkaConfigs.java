// SPDX-License-Identifier: Apache-2.0
// What Apache Kafka says of its own configs, one line a fact, fields separated by tabs:
//   topic|broker NAME TYPE DEFAULT IMPORTANCE INTERNAL    every config (LogConfig, AbstractKafkaConfig)
//   synonym TOPIC-CONFIG BROKER-CONFIG ONE                ONE: what the broker config's 1 is in the topic config
//   dynamic BROKER-CONFIG MODE                            cluster-wide or per-broker; those left out are read-only
// Then for each line KIND NAME VALUE of standard input whether Kafka takes the value: `ok TEXT` or `bad MESSAGE`. KIND is topic,
// broker, or topics, where VALUE is NAME=VALUE;... checked together. \0 stands for null.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.storage.internals.log.LogConfig;

public class KafkaConfigs {
    public static void main(String[] args) throws Exception {
        var topics = LogConfig.configKeys();
        var brokers = AbstractKafkaConfig.CONFIG_DEF.configKeys();
        print("topic", topics);
        print("broker", brokers);
        ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS.forEach((name, synonyms) -> {
            for (var synonym : synonyms) line("synonym", name, synonym.name(), synonym.converter().apply("1"));
        });
        DynamicBrokerConfig.dynamicConfigUpdateModes().forEach((name, mode) -> line("dynamic", name, mode));
        var asked = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String text; (text = asked.readLine()) != null; ) {
            String[] fields = text.split("\t", -1);
            try {
                if (fields[0].equals("topics")) {
                    together(fields[2]);
                    line("ok", "taken");
                    continue;
                }
                var key = (fields[0].equals("topic") ? topics : brokers).get(fields[1]);
                Object value = ConfigDef.parseType(key.name, fields[2], key.type);
                if (key.validator != null) key.validator.ensureValid(key.name, value);
                line("ok", ConfigDef.convertToString(value, key.type));
            } catch (org.apache.kafka.common.KafkaException e) {
                line("bad", e.getMessage());
            }
        }
    }

    private static void print(String kind, Map<String, ConfigDef.ConfigKey> keys) {
        for (var key : new TreeMap<>(keys).values()) {
            String value = key.hasDefault() ? ConfigDef.convertToString(key.defaultValue, key.type) : null;
            line(kind, key.name, key.type.name().toLowerCase(), value == null ? "\\0" : value,
                key.importance.name().toLowerCase(), String.valueOf(key.internalConfig));
        }
    }

    private static void together(String text) {
        Map<String, String> given = new LinkedHashMap<>();
        for (String pair : text.split(";", -1)) {
            int at = pair.indexOf('=');
            given.put(pair.substring(0, at), pair.substring(at + 1));
        }
        LogConfig.validate(Map.of(), given, LogConfig.fromProps(Map.of(), new Properties()).values(), false);
    }

    private static void line(String... fields) {
        System.out.println(String.join("\t", fields));
    }
}
