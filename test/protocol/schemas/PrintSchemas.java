// SPDX-License-Identifier: Apache-2.0
// Prints what Kafka's own kafka-clients jar says about the protocol, one JSON object a line: every error, and for the API
// keys given as arguments the schema of each version of each message, its header versions, and the specification (a
// resource of the jar) that the message classes were generated from. test/conformance compares our tables with it.
//   java -cp kafka-clients.jar PrintSchemas.java 3 12 18

import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.NullableSchema;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

public class PrintSchemas {
    public static void main(String[] keys) throws Exception {
        for (Errors error : Errors.values()) {
            boolean retriable = error.exception() instanceof RetriableException;
            System.out.printf("{\"kind\":\"error\",\"code\":%d,\"name\":\"%s\",\"retriable\":%b}%n",
                error.code(), error.name(), retriable);
        }
        for (String key : keys) print(ApiMessageType.fromApiKey(Short.parseShort(key)));
    }

    private static void print(ApiMessageType api) throws Exception {
        System.out.printf("{\"kind\":\"api\",\"key\":%d,\"name\":\"%s\",\"min\":%d,\"max\":%d,\"latestUnstable\":%b}%n",
            api.apiKey(), api.name, api.lowestSupportedVersion(), api.highestSupportedVersion(true), api.latestVersionUnstable());
        for (short v = api.lowestSupportedVersion(); v <= api.highestSupportedVersion(true); v++) {
            schema(api, "request", v, api.requestHeaderVersion(v), api.requestSchemas()[v]);
            schema(api, "response", v, api.responseHeaderVersion(v), api.responseSchemas()[v]);
        }
        spec(api, "request", "Request");
        spec(api, "response", "Response");
    }

    private static void schema(ApiMessageType api, String message, short version, short headerVersion, Schema schema) {
        System.out.printf("{\"kind\":\"schema\",\"key\":%d,\"message\":\"%s\",\"version\":%d,\"headerVersion\":%d,\"fields\":%s}%n",
            api.apiKey(), message, version, headerVersion, fields(schema));
    }

    private static void spec(ApiMessageType api, String message, String suffix) throws Exception {
        String resource = "/common/message/" + api.name + suffix + ".json";
        try (InputStream in = PrintSchemas.class.getResourceAsStream(resource)) {
            if (in == null) throw new IllegalStateException("the jar has no " + resource);
            String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
            System.out.printf("{\"kind\":\"spec\",\"key\":%d,\"message\":\"%s\",\"text\":%s}%n", api.apiKey(), message, quoted(text));
        }
    }

    /** Tagged fields stand at the end of a schema; their section is printed as the field that ends every flexible struct. */
    private static String fields(Schema schema) {
        List<String> printed = new ArrayList<>();
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                Map<Integer, Field> byTag = new TreeMap<>(tagged.fields());
                List<String> inner = new ArrayList<>();
                byTag.forEach((tag, field) -> inner.add(field(field, tag)));
                printed.add("{\"name\":\"_tagged_fields\",\"type\":\"tagged\",\"fields\":[" + String.join(",", inner) + "]}");
            } else printed.add(field(bound.def, -1));
        }
        return "[" + String.join(",", printed) + "]";
    }

    private static String field(Field field, int tag) {
        return "{\"name\":\"" + field.name + "\",\"tag\":" + tag + "," + type(field.type) + "}";
    }

    private static String type(Type type) {
        if (type.isArray()) {
            return "\"type\":\"" + name(type) + "\",\"element\":{" + type(type.arrayElementType().get()) + "}";
        }
        if (type instanceof NullableSchema nullable) return "\"type\":\"NULLABLE_STRUCT\",\"fields\":" + fields(nullable);
        if (type instanceof Schema schema) return "\"type\":\"STRUCT\",\"fields\":" + fields(schema);
        return "\"type\":\"" + name(type) + "\"";
    }

    private static String name(Type type) {
        String name = type instanceof Type.DocumentedType documented ? documented.typeName() : type.toString();
        return type.isNullable() && !name.contains("NULLABLE") ? "NULLABLE_" + name : name;
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }
}
