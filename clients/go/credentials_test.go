package ooml

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

const secret = "s3cr3t-key.with_dots"

func TestAKeyIsSentWithEveryCall(t *testing.T) {
	server := listen(t, nil)
	if _, err := connect(t, server.address, WithAPIKey(secret)).Score(t.Context(), &banditv1.ScoreRequest{}); err != nil {
		t.Fatal(err)
	}
	if sent := server.only(t).header.Get("authorization"); !slices.Equal(sent, []string{"Bearer " + secret}) {
		t.Errorf("sent %q", sent)
	}
}

func TestWithoutAKeyNothingIsSent(t *testing.T) {
	server := listen(t, nil)
	if _, err := connect(t, server.address, WithAPIKey("")).Score(t.Context(), &banditv1.ScoreRequest{}); err != nil {
		t.Fatal(err)
	}
	if sent := server.only(t).header.Get("authorization"); sent != nil {
		t.Errorf("sent %q", sent)
	}
}

func TestAKeyLeavesTheMachineEncryptedOnly(t *testing.T) {
	for target, local := range map[string]bool{
		"127.0.0.1:50051": true, "127.8.8.8:1": true, "[::1]:50051": true, "::1": true, "localhost:50051": true, "LocalHost": true,
		"dns:///localhost:50051": true, "passthrough:///127.0.0.1:50051": true, "unix:/run/ooml.sock": true, "unix:///run/ooml.sock": true,
		"ooml.example:443": false, "10.0.0.1:50051": false, "0.0.0.0:50051": false, "[2001:db8::1]:443": false, "localhost.example:443": false,
		"127.0.0.1.example:443": false, "dns:///ooml.example:443": false, "dns://127.0.0.1/ooml.example:443": false,
		"127.0.0.1:50051,ooml.example:443": false, "xds:///localhost": false,
	} {
		t.Run(target, func(t *testing.T) {
			client, err := NewClient(target, WithAPIKey(secret))
			switch {
			case local && err != nil:
				t.Error(err)
			case local:
				if err := client.Close(); err != nil {
					t.Error(err)
				}
			case err == nil || !strings.Contains(err.Error(), "WithTLS"):
				t.Errorf("got %v, want to be told of WithTLS", err)
			case strings.Contains(err.Error(), secret):
				t.Errorf("%v tells the key", err)
			}
		})
	}
}

func TestAKeyThatIsNoHeaderIsRefusedWithoutTellingIt(t *testing.T) {
	for _, bad := range []string{secret + "\n", secret + " ", secret + "é", "\x00" + secret} {
		_, err := NewClient("127.0.0.1:1", WithAPIKey(bad))
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q got %v", bad, err)
		}
	}
}

func TestAClientDoesNotTellItsKey(t *testing.T) {
	client := connect(t, "127.0.0.1:1", WithAPIKey(secret))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if told := fmt.Sprintf(verb, client) + fmt.Sprintf(verb, *client); strings.Contains(told, secret) {
			t.Errorf("%s tells %s", verb, told)
		}
	}
}

func TestTLSWithACAOfOnesOwn(t *testing.T) {
	ca := newAuthority(t)
	server := listen(t, nil, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "ooml.example").pair}})))
	score := func(trust TLS) error {
		_, err := connect(t, server.address, WithTLS(trust), WithAPIKey(secret), WithoutRetry(), WithDeadline(time.Minute)).
			Score(t.Context(), &banditv1.ScoreRequest{})
		return err
	}
	if err := score(TLS{CAFile: ca.file, ServerName: "ooml.example"}); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]TLS{
		"another CA":       {CAFile: newAuthority(t).file, ServerName: "ooml.example"},
		"the system's CAs": {ServerName: "ooml.example"},
		"another name":     {CAFile: ca.file, ServerName: "other.example"},
		"the target's":     {CAFile: ca.file},
	} {
		if err := score(wrong); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: got %v, want a certificate to be refused", name, err)
		}
	}
	if sent := server.only(t).header.Get("authorization"); !slices.Equal(sent, []string{"Bearer " + secret}) {
		t.Errorf("sent %q", sent)
	}
}

func TestAClientShowsItsCertificate(t *testing.T) {
	ca := newAuthority(t)
	server := listen(t, nil, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1").pair}, ClientCAs: ca.pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	us := ca.issue(t, "client")
	if _, err := connect(t, server.address, WithTLS(TLS{CAFile: ca.file, CertFile: us.certFile, KeyFile: us.keyFile})).
		Score(t.Context(), &banditv1.ScoreRequest{}); err != nil {
		t.Error(err)
	}
	_, err := connect(t, server.address, WithTLS(TLS{CAFile: ca.file}), WithoutRetry()).Score(t.Context(), &banditv1.ScoreRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("without a certificate: got %v, want Unavailable", err)
	}
	server.only(t)
}

// authority signs certificates for a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

// issued is a certificate, as a pair and as files.
type issued struct {
	pair              tls.Certificate
	certFile, keyFile string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, writePEM(t, "CERTIFICATE", der)}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *authority) issue(t *testing.T, name string) issued {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour)}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{
		pair:     tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		certFile: writePEM(t, "CERTIFICATE", der),
		keyFile:  writePEM(t, "PRIVATE KEY", keyDER),
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "one.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
