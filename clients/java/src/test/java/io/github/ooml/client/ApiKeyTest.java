package io.github.ooml.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ooml.bandit.v1.ScoreRequest;
import io.grpc.Metadata;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ApiKeyTest {
    private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    @Test
    void theKeyGoesWithEveryCall() throws Exception {
        try (Listener server = new Listener();
                Client client = server.client().deadline(Duration.ofSeconds(30)).apiKey("s3cret").build()) {
            client.bandit().score(ScoreRequest.getDefaultInstance());
            client.bandit().score(ScoreRequest.getDefaultInstance());
            assertEquals(
                    List.of("Bearer s3cret", "Bearer s3cret"),
                    server.headers.stream().map(headers -> headers.get(AUTHORIZATION)).toList());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"localhost:1", "127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "dns:///localhost:1", "localhost"})
    void withoutTlsAKeyMayGoToThisMachine(String target) {
        Client.builder(target).apiKey("s3cret").build().close();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "ooml.test:1", "10.0.0.1:1", "0.0.0.0:1", "[::2]:1", "localhost.ooml.test:1", "127.0.0.1.ooml.test:1", "127.0.0.999:1",
                "dns://10.0.0.1/localhost:1", "unix:/tmp/localhost", ""
            })
    void withoutTlsAKeyGoesNowhereElse(String target) {
        ClientBuilder client = Client.builder(target).apiKey("s3cret");
        Exception refusal = assertThrows(IllegalStateException.class, client::build);
        assertEquals("an API key would cross the network in the clear; call tls(), or connect to localhost", refusal.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "s3cret\n", "s3 cret", "sécret"})
    void whatCannotBeSentIsRefusedAndNotRepeated(String key) {
        Exception refusal = assertThrows(IllegalArgumentException.class, () -> Client.builder("localhost:1").apiKey(key));
        assertFalse(refusal.getMessage().contains("cret"), refusal.getMessage());
    }

    @Test
    void theKeyIsNotPrinted() {
        ClientBuilder builder = Client.builder("localhost:1").apiKey("s3cret");
        try (Client client = builder.build()) {
            assertFalse((builder + " " + client + " " + client.bandit() + " " + new ApiKey("s3cret")).contains("s3cret"));
        }
    }
}
