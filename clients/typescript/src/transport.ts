/** Calls of any method that protobuf-es describes, over gRPC for Node. */

import { Readable, type Writable } from "node:stream";
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { CallOptions, Client, Metadata } from "@grpc/grpc-js";

/** What a call goes out with. */
export interface Call {
  readonly metadata: Metadata;
  readonly options: CallOptions;
  readonly signal: AbortSignal | undefined;
}

/**
 * Calls a method with one request and one response.
 *
 * @throws ServiceError when the call fails; another error when the request cannot be sent at all.
 */
export function unary<I extends DescMessage, O extends DescMessage>(
  connection: Client,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  { metadata, options, signal }: Call,
): Promise<MessageShape<O>> {
  // Encoded before the call: a request that cannot be is the caller's mistake, which gRPC would report as INTERNAL.
  const bytes = encode(method.input, request);
  return new Promise((resolve, reject) => {
    const cancel = (): void => call.cancel();
    const call = connection.makeUnaryRequest(path(method), same, decode(method.output), bytes, metadata, options, (error, response) => {
      signal?.removeEventListener("abort", cancel);
      if (error === null) resolve(response as MessageShape<O>);
      else reject(error);
    });
    cancelOn(signal, cancel);
  });
}

/**
 * Calls a method with many requests and many responses; leaving the loop over the responses cancels the call.
 *
 * @throws ServiceError when the call fails; what `requests` threw, or why one cannot be sent.
 */
export async function* duplex<I extends DescMessage, O extends DescMessage>(
  connection: Client,
  method: DescMethodBiDiStreaming<I, O>,
  requests: AsyncIterable<MessageInitShape<I>>,
  { metadata, options, signal }: Call,
): AsyncGenerator<MessageShape<O>, void, undefined> {
  const call = connection.makeBidiStreamRequest(path(method), same, decode(method.output), metadata, options);
  const cancel = (): void => call.cancel();
  // A call that is left may still fail, and an error that nobody hears ends the process; whether a loop that was left still does is Node's affair.
  call.on("error", () => undefined);
  let failure: { readonly cause: unknown } | undefined;
  const source = Readable.from(encodeAll(method.input, requests)).on("error", (cause) => {
    failure = { cause };
    call.cancel();
  });
  source.pipe(call as Writable);
  cancelOn(signal, cancel);
  try {
    yield* call as AsyncIterable<MessageShape<O>>;
  } catch (error) {
    throw failure === undefined ? error : failure.cause;
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
    source.destroy();
  }
}

async function* encodeAll<I extends DescMessage>(schema: I, requests: AsyncIterable<MessageInitShape<I>>): AsyncGenerator<Buffer> {
  for await (const request of requests) yield encode(schema, request);
}

function encode<I extends DescMessage>(schema: I, request: MessageInitShape<I>): Buffer {
  const bytes = toBinary(schema, create(schema, request));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decode<O extends DescMessage>(schema: O): (bytes: Buffer) => MessageShape<O> {
  return (bytes) => fromBinary(schema, bytes);
}

function same(bytes: Buffer): Buffer {
  return bytes;
}

function path(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function cancelOn(signal: AbortSignal | undefined, cancel: () => void): void {
  if (signal?.aborted) cancel();
  else signal?.addEventListener("abort", cancel, { once: true });
}
