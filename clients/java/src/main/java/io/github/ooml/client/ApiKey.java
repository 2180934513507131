package io.github.ooml.client;

import com.google.common.net.HostAndPort;
import com.google.common.net.InetAddresses;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;

/** Sends a key, or a JWT, with every call. It is never part of what is printed. */
final class ApiKey implements ClientInterceptor {
    private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final String key;

    ApiKey(String key) {
        if (!key.matches("[!-~]+")) {
            throw new IllegalArgumentException("an API key is one or more visible ASCII characters, without spaces; this one is not");
        }
        this.key = key;
    }

    @Override
    public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
            @Override
            public void start(Listener<R> listener, Metadata headers) {
                headers.discardAll(AUTHORIZATION);
                headers.put(AUTHORIZATION, "Bearer " + key);
                super.start(listener, headers);
            }
        };
    }

    /** Whether a target is this machine by its name or number alone, so that a key sent there in the clear meets no network. */
    static boolean staysHere(String target) {
        try {
            String host = HostAndPort.fromString(target.replaceFirst("^dns:///", "")).getHost();
            return host.equals("localhost") || InetAddresses.forString(host).isLoopbackAddress();
        } catch (IllegalArgumentException notAnAddress) {
            return false;
        }
    }
}
