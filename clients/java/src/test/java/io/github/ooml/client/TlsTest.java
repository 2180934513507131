package io.github.ooml.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.github.ooml.bandit.v1.ScoreRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsServerCredentials;
import io.grpc.TlsServerCredentials.ClientAuth;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.ProcessBuilder.Redirect;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TlsTest {
    private static final String NAME = "ooml.test";
    private static final String PASSWORD = "changeit";

    @TempDir
    private static Path folder;

    private static Path certificate;
    private static Path privateKey;
    private static Listener server;

    @BeforeAll
    static void start() throws Exception {
        KeyStore made = selfSigned();
        certificate = pem("CERTIFICATE", made.getCertificate(NAME).getEncoded());
        privateKey = pem("PRIVATE KEY", made.getKey(NAME, PASSWORD.toCharArray()).getEncoded());
        server = new Listener(TlsServerCredentials.newBuilder()
                .keyManager(certificate.toFile(), privateKey.toFile())
                .trustManager(certificate.toFile())
                .clientAuth(ClientAuth.REQUIRE)
                .build());
    }

    @AfterAll
    static void stop() {
        server.close();
    }

    @Test
    void aServerAndAClientThatShowTheirCertificatesMeet() {
        assertEquals(Status.Code.OK, call(trusting().clientCertificate(certificate, privateKey).apiKey("s3cret")));
    }

    @Test
    void aClientWithoutACertificateIsTurnedAway() {
        assertEquals(Status.Code.UNAVAILABLE, call(trusting()));
    }

    @Test
    void aServerOfAnotherNameIsNotTrusted() {
        assertEquals(Status.Code.UNAVAILABLE, call(server.client().tls(certificate).clientCertificate(certificate, privateKey)));
    }

    @Test
    void aServerThatThisMachineDoesNotKnowIsNotTrusted() {
        assertEquals(
                Status.Code.UNAVAILABLE, call(server.client().tls().serverName(NAME).clientCertificate(certificate, privateKey)));
    }

    @Test
    void aFileThatIsNotThereIsNamed() {
        ClientBuilder client = server.client().tls(folder.resolve("none.pem"));
        String message = assertThrows(UncheckedIOException.class, client::build).getMessage();
        assertEquals("a TLS file cannot be read: " + folder.resolve("none.pem") + " (No such file or directory)", message);
    }

    private static ClientBuilder trusting() {
        return server.client().tls(certificate).serverName(NAME);
    }

    private static Status.Code call(ClientBuilder options) {
        try (Client client = options.retry(false).deadline(Duration.ofSeconds(30)).build()) {
            client.bandit().score(ScoreRequest.getDefaultInstance());
            return Status.Code.OK;
        } catch (StatusRuntimeException error) {
            return error.getStatus().getCode();
        }
    }

    private static KeyStore selfSigned() throws Exception {
        Path file = folder.resolve("made.p12");
        List<String> command = List.of(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
                "-genkeypair", "-keyalg", "EC", "-alias", NAME, "-dname", "CN=" + NAME, "-ext", "SAN=dns:" + NAME,
                "-storetype", "PKCS12", "-keystore", file.toString(), "-storepass", PASSWORD);
        assertEquals(0, new ProcessBuilder(command).redirectError(Redirect.DISCARD).start().waitFor());
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(file)) {
            store.load(in, PASSWORD.toCharArray());
        }
        return store;
    }

    private static Path pem(String kind, byte[] content) throws Exception {
        String text = Base64.getMimeEncoder().encodeToString(content);
        return Files.writeString(folder.resolve(kind + ".pem"), "-----BEGIN %s-----\n%s\n-----END %s-----\n".formatted(kind, text, kind));
    }
}
