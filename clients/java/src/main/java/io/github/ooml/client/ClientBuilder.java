package io.github.ooml.client;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** How a {@link Client} connects and calls. */
public final class ClientBuilder {
    private final String target;
    private Duration deadline = Duration.ofMillis(500);
    private int channels = 1;
    private ApiKey apiKey;
    private boolean tls;
    private Path authorities;
    private Path certificate;
    private Path privateKey;
    private String serverName;
    private Duration pingEvery = Duration.ofSeconds(30);
    private Duration pingTimeout = Duration.ofSeconds(10);
    private boolean retry = true;

    ClientBuilder(String target) {
        this.target = target;
    }

    /**
     * How long a call may take, retries included, when it does not say itself. Default: 500 ms.
     *
     * @param deadline more than zero
     * @return this
     */
    public ClientBuilder deadline(Duration deadline) {
        this.deadline = positive(deadline, "deadline");
        return this;
    }

    /**
     * How many connections take calls in turn. Default: 1. As many as the server has workers, or a few more, keep all of them busy.
     *
     * @param channels at least 1
     * @return this
     */
    public ClientBuilder channels(int channels) {
        if (channels < 1) {
            throw new IllegalArgumentException("channels is " + channels + "; it must be at least 1");
        }
        this.channels = channels;
        return this;
    }

    /**
     * A key or JWT to send with every call. Default: none. Without TLS only to this machine.
     *
     * @param apiKey visible ASCII characters
     * @return this
     */
    public ClientBuilder apiKey(String apiKey) {
        this.apiKey = new ApiKey(apiKey);
        return this;
    }

    /**
     * Encrypts, and trusts whom this machine trusts. Default: neither.
     *
     * @return this
     */
    public ClientBuilder tls() {
        this.tls = true;
        return this;
    }

    /**
     * Encrypts, and trusts only these authorities.
     *
     * @param authorities a PEM file of certificates
     * @return this
     */
    public ClientBuilder tls(Path authorities) {
        this.authorities = authorities;
        return tls();
    }

    /**
     * Shows the server who calls, for servers that ask. Needs TLS. Default: nothing is shown.
     *
     * @param certificate a PEM file: the certificate, and those between it and its authority
     * @param privateKey a PEM file: its key, in PKCS#8
     * @return this
     */
    public ClientBuilder clientCertificate(Path certificate, Path privateKey) {
        this.certificate = certificate;
        this.privateKey = privateKey;
        return this;
    }

    /**
     * The name the server's certificate must bear. Needs TLS. Default: the target's host.
     *
     * @param serverName a host name
     * @return this
     */
    public ClientBuilder serverName(String serverName) {
        this.serverName = serverName;
        return this;
    }

    /**
     * How often to ask a silent server whether it is there, calls or no calls, and how long to wait for its answer before the connection
     * counts as broken. Default: every 30 s, for 10 s. ooml closes connections that ask more often than every 10 s.
     *
     * @param every at least 10 s; less is taken as 10 s
     * @param timeout more than zero
     * @return this
     */
    public ClientBuilder keepAlive(Duration every, Duration timeout) {
        this.pingEvery = positive(every, "keep-alive interval");
        this.pingTimeout = positive(timeout, "keep-alive timeout");
        return this;
    }

    /**
     * Whether calls that are safe to repeat are sent again, at most three times, while the server is unavailable. Default: yes.
     *
     * @param retry false to see every failure
     * @return this
     */
    public ClientBuilder retry(boolean retry) {
        this.retry = retry;
        return this;
    }

    /**
     * Makes the client. Nothing is sent before its first call.
     *
     * @return a client, to be closed by the caller
     * @throws IllegalStateException when an option needs TLS and there is none
     * @throws IllegalArgumentException when the target or a file makes no sense
     * @throws UncheckedIOException when a file cannot be read
     */
    public Client build() {
        if (!tls && (certificate != null || serverName != null)) {
            throw new IllegalStateException("a client certificate or server name needs TLS; call tls() too");
        }
        if (!tls && apiKey != null && !ApiKey.staysHere(target)) {
            throw new IllegalStateException("an API key would cross the network in the clear; call tls(), or connect to localhost");
        }
        ChannelCredentials credentials = credentials();
        List<ManagedChannel> connections =
                Stream.generate(() -> connection(credentials)).limit(channels).toList();
        List<ClientInterceptor> interceptors = new ArrayList<>(List.of(new DefaultDeadline(deadline), new RequestIds()));
        if (apiKey != null) {
            interceptors.add(apiKey);
        }
        return new Client(connections, interceptors);
    }

    private ManagedChannel connection(ChannelCredentials credentials) {
        ManagedChannelBuilder<?> connection = Grpc.newChannelBuilder(target, credentials)
                .keepAliveTime(pingEvery.toNanos(), TimeUnit.NANOSECONDS)
                .keepAliveTimeout(pingTimeout.toNanos(), TimeUnit.NANOSECONDS)
                .keepAliveWithoutCalls(true);
        if (serverName != null) {
            connection.overrideAuthority(serverName);
        }
        if (retry) {
            connection.enableRetry().defaultServiceConfig(RetryPolicy.SERVICE_CONFIG);
        } else {
            connection.disableRetry();
        }
        return connection.build();
    }

    private ChannelCredentials credentials() {
        if (!tls) {
            return InsecureChannelCredentials.create();
        }
        try {
            TlsChannelCredentials.Builder credentials = TlsChannelCredentials.newBuilder();
            if (authorities != null) {
                credentials.trustManager(authorities.toFile());
            }
            if (certificate != null) {
                credentials.keyManager(certificate.toFile(), privateKey.toFile());
            }
            return credentials.build();
        } catch (IOException unreadable) {
            throw new UncheckedIOException("a TLS file cannot be read: " + unreadable.getMessage(), unreadable);
        }
    }

    private static Duration positive(Duration duration, String name) {
        if (duration.isNegative() || duration.isZero()) {
            throw new IllegalArgumentException("the " + name + " is " + duration + "; it must be more than zero");
        }
        return duration;
    }
}
