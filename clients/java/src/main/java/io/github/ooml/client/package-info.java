/**
 * A client of ooml: {@link io.github.ooml.client.Client} connects, the generated stubs call, {@link
 * io.github.ooml.client.ErrorDetails} says why a call failed.
 */
package io.github.ooml.client;
