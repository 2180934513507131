// Conformance executes the cases of a run file with the Go client and prints what came of each step, a line of JSON each. It does not
// judge; ../../conformance/README.md tells what a run file holds and who does.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	ooml "github.com/ooml/ooml/clients/go"
)

type runFile struct {
	Targets map[string]target
	Cases   []testCase
}

type target struct {
	Address  string
	CAFile   string `json:"ca_file"`
	CertFile string `json:"cert_file"`
	KeyFile  string `json:"key_file"`
	APIKey   string `json:"api_key"`
}

type testCase struct {
	Name   string
	Target string
	Client struct {
		Channels           *int
		Retry              *bool
		KeepaliveMS        *int    `json:"keepalive_ms"`
		KeepaliveTimeoutMS *int    `json:"keepalive_timeout_ms"`
		APIKey             *string `json:"api_key"`
	}
	Steps []step
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: conformance RUN_FILE")
		os.Exit(1)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(path string, out io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file runFile
	if err := json.Unmarshal(text, &file); err != nil {
		return err
	}
	said := json.NewEncoder(out)
	for _, one := range file.Cases {
		at, ok := file.Targets[one.Target]
		if !ok {
			return fmt.Errorf("case %q: there is no target %q", one.Name, one.Target)
		}
		if err := one.execute(at, said); err != nil {
			return fmt.Errorf("case %q: %w", one.Name, err)
		}
	}
	return nil
}

// execute runs the steps of a case one after the other, whatever comes of them.
func (c *testCase) execute(at target, said *json.Encoder) error {
	client, refused := ooml.NewClient(at.Address, c.options(at)...)
	if refused == nil {
		defer client.Close()
	}
	saved := map[string]string{}
	for n, step := range c.Steps {
		if step.Call == "" {
			time.Sleep(time.Duration(step.WaitMS) * time.Millisecond)
			continue
		}
		var came outcome
		if refused != nil {
			came = failed(localError{refused})
		} else {
			came = step.execute(client, saved)
		}
		came.Case, came.Step = c.Name, n
		if err := said.Encode(came); err != nil {
			return err
		}
	}
	return nil
}

func (c *testCase) options(at target) []ooml.Option {
	var options []ooml.Option
	if at.CAFile != "" {
		options = append(options, ooml.WithTLS(ooml.TLS{CAFile: at.CAFile, CertFile: at.CertFile, KeyFile: at.KeyFile}))
	}
	key := at.APIKey
	if c.Client.APIKey != nil {
		key = *c.Client.APIKey
	}
	options = append(options, ooml.WithAPIKey(key))
	if c.Client.Channels != nil {
		options = append(options, ooml.WithChannels(*c.Client.Channels))
	}
	if c.Client.Retry != nil && !*c.Client.Retry {
		options = append(options, ooml.WithoutRetry())
	}
	if c.Client.KeepaliveMS != nil || c.Client.KeepaliveTimeoutMS != nil {
		options = append(options, ooml.WithKeepalive(milliseconds(c.Client.KeepaliveMS, 30_000), milliseconds(c.Client.KeepaliveTimeoutMS, 10_000)))
	}
	return options
}

func milliseconds(given *int, otherwise int) time.Duration {
	if given != nil {
		otherwise = *given
	}
	return time.Duration(otherwise) * time.Millisecond
}
