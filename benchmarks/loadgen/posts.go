package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// posts makes each call a POST of JSON, over connections that are kept.
type posts struct {
	o       options
	clients []*http.Client
}

func newPosts(o options) *posts {
	p := &posts{o: o}
	each := (o.inFlight + o.connections - 1) / o.connections // HTTP/1.1: a connection carries one call at a time
	for range o.connections {
		transport := &http.Transport{MaxConnsPerHost: each, MaxIdleConnsPerHost: each, DisableCompression: true}
		p.clients = append(p.clients, &http.Client{Transport: transport})
	}
	return p
}

func (p *posts) do(ctx context.Context, connection, k int) ([]byte, error) {
	message := p.o.messages[k%len(p.o.messages)]
	url := "http://" + p.o.target + p.o.methods[message.method]
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(message.body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.clients[connection].Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", response.Status, reply)
	}
	return reply, err
}

func (p *posts) close() {
	for _, client := range p.clients {
		client.CloseIdleConnections()
	}
}
