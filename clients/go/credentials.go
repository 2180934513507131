package ooml

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// TLS says whom to trust and who we are. The zero value trusts the system's roots and shows no certificate.
type TLS struct {
	// CAFile holds, in PEM, the certificates to trust instead of the system's roots.
	CAFile string
	// CertFile and KeyFile hold, in PEM, the certificate and key to show to a server that asks for one (mTLS). Both or neither.
	CertFile, KeyFile string
	// ServerName is the name the server's certificate must have. Default: the target's.
	ServerName string
}

func (t TLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ooml: CAFile: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ooml: CAFile %s holds no certificate; give one in PEM", t.CAFile)
		}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		certificate, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("ooml: CertFile %q and KeyFile %q: %w", t.CertFile, t.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// bearer sends a key with every call, and gRPC refuses to without TLS where that is required. The key is behind a function, because fmt
// looks into whatever holds this, however deep.
type bearer struct {
	header    func() string
	encrypted bool
}

func newBearer(key string, encrypted bool) bearer {
	return bearer{header: func() string { return "Bearer " + key }, encrypted: encrypted}
}

// GetRequestMetadata is the header that holds the key.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": b.header()}, nil
}

// RequireTransportSecurity makes gRPC hold what NewClient has checked.
func (b bearer) RequireTransportSecurity() bool { return b.encrypted }

// sendable says whether a key can be a header's value.
func sendable(key string) bool {
	return !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
}

// isLoopback says whether a target is surely on this machine. Names other than localhost are not looked up: they may change.
func isLoopback(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	address := strings.TrimPrefix(strings.TrimPrefix(target, "dns:///"), "passthrough:///")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
