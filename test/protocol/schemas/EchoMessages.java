// SPDX-License-Identifier: Apache-2.0
// Has Kafka's own generated classes read message bodies and write them again. Input, a line each: API key, version,
// `request` or `response`, the body in hex ("-" when empty). Output, a line each: the body as Kafka writes it, or `error`
// and what Kafka said. test/conformance feeds it what our codec writes.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

public class EchoMessages {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false);
        for (String line = in.readLine(); line != null; line = in.readLine()) out.println(echo(line.split(" ")));
        out.flush();
    }

    private static String echo(String[] parts) {
        ApiMessageType api = ApiMessageType.fromApiKey(Short.parseShort(parts[0]));
        short version = Short.parseShort(parts[1]);
        ApiMessage message = parts[2].equals("request") ? api.newRequest() : api.newResponse();
        try {
            ByteBuffer body = ByteBuffer.wrap(parts[3].equals("-") ? new byte[0] : HexFormat.of().parseHex(parts[3]));
            message.read(new ByteBufferAccessor(body), version);
            if (body.hasRemaining()) return "error " + body.remaining() + " bytes are left";
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer written = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(written), cache, version);
            return written.position() == 0 ? "-" : HexFormat.of().formatHex(written.array(), 0, written.position());
        } catch (RuntimeException e) {
            return "error " + String.valueOf(e).replace('\n', ' ');
        }
    }
}
