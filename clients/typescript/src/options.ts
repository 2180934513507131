import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";
import { serviceConfig } from "./service_config.js";

/** How a client reaches a server. */
export interface ClientOptions {
  /** Milliseconds a call may take, its retries included. Default: 500. A stream takes as long as it takes, unless its call says otherwise. */
  readonly deadlineMs?: number | undefined;
  /**
   * Connections that calls take in turn. A server spreads connections over its workers, not calls: give at least as many as it has workers.
   * Default: 1.
   */
  readonly channels?: number | undefined;
  /** An API key or a JWT, sent with every call. It needs TLS, except to a loopback address. */
  readonly apiKey?: string | undefined;
  /** TLS: `true` trusts the system's roots. Default: off. */
  readonly tls?: boolean | TlsOptions | undefined;
  /** Pings that notice a dead connection, also between calls. */
  readonly keepalive?: KeepaliveOptions | undefined;
  /** Whether calls that are safe to repeat are tried up to 4 times while the server is unavailable. Default: true. */
  readonly retry?: boolean | undefined;
}

/** Whom to trust, and who to be. */
export interface TlsOptions {
  /** PEM file of the authorities to trust. Default: the system's. */
  readonly caFile?: string | undefined;
  /** PEM file of the certificate to show, with its chain; with `keyFile`. Default: none. */
  readonly certFile?: string | undefined;
  /** PEM file of that certificate's key. */
  readonly keyFile?: string | undefined;
  /** The name that the server's certificate must hold. Default: the target's host. */
  readonly serverName?: string | undefined;
}

/** When to ping. */
export interface KeepaliveOptions {
  /** Milliseconds between pings. Default: 30,000; a server allows 10,000 and hangs up on more. */
  readonly intervalMs?: number | undefined;
  /** Milliseconds to wait for the answer before the connection counts as dead. Default: 10,000. */
  readonly timeoutMs?: number | undefined;
}

/** Bytes a message may hold: one as long as that is kept for its retries, too. */
const MESSAGE_BYTES = 4 * 1024 * 1024;

/** The TLS credentials of a connection, or none. */
export function channelCredentials(tls: boolean | TlsOptions): ChannelCredentials {
  if (tls === false) return credentials.createInsecure();
  const { caFile, certFile, keyFile } = tls === true ? {} : tls;
  return credentials.createSsl(read(caFile), read(keyFile), read(certFile));
}

/** What gRPC is told about a connection. */
export function channelOptions(target: string, options: ClientOptions): ChannelOptions {
  const { tls = false, keepalive = {}, retry = true } = options;
  const serverName = typeof tls === "object" ? tls.serverName : undefined;
  return {
    // Without a pool of its own, a client would share the connection of every other client of its target.
    "grpc.use_local_subchannel_pool": 1,
    "grpc.keepalive_time_ms": keepalive.intervalMs ?? 30_000,
    "grpc.keepalive_timeout_ms": keepalive.timeoutMs ?? 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    // The name service has no say in what is retried.
    "grpc.service_config_disable_resolution": 1,
    ...(retry
      ? { "grpc.service_config": JSON.stringify(serviceConfig), "grpc.per_rpc_retry_buffer_size": MESSAGE_BYTES }
      : { "grpc.enable_retries": 0 }),
    // A proxy from the environment would have what is meant for this machine, a key among it, leave it.
    ...(isLoopback(target) ? { "grpc.enable_http_proxy": 0 } : {}),
    ...(serverName === undefined
      ? {}
      : { "grpc.ssl_target_name_override": serverName, "grpc.default_authority": serverName }),
  };
}

/** The `authorization` that every call carries; undefined without a key. Refuses a key that others could read on its way. */
export function authorization(target: string, options: ClientOptions): string | undefined {
  const { apiKey = "", tls = false } = options;
  if (apiKey === "") return undefined;
  if (!/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new Error("apiKey has characters that no header can carry: was it read with a line end or a space?");
  }
  if (tls === false && !isLoopback(target)) {
    throw new Error(`apiKey would travel to ${target} for everybody to read: set tls, or use a loopback address`);
  }
  return `Bearer ${apiKey}`;
}

/** A number of the options, or its default. */
export function positive(name: string, value: number | undefined, otherwise: number): number {
  const number = value ?? otherwise;
  if (!Number.isSafeInteger(number) || number < 1) throw new RangeError(`${name} is ${number}: give a whole number of at least 1`);
  return number;
}

/** Whether a target surely names this machine. */
function isLoopback(target: string): boolean {
  if (target.startsWith("unix:")) return true;
  const host = /^(?:dns:\/\/\/|dns:)?([^:/,[\]]+|\[::1\])(?::\d+)?$/.exec(target)?.[1] ?? "";
  return host === "localhost" || host === "[::1]" || (isIPv4(host) && host.startsWith("127."));
}

function read(file: string | undefined): Buffer | null {
  return file === undefined ? null : readFileSync(file);
}
