package ooml_test

import (
	"os"
	"strings"
	"testing"
)

func TestTheREADMEShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "func Example() {")
	example := strings.TrimSuffix(strings.ReplaceAll(body, "\n\t", "\n"), "}\n")
	if !strings.Contains(string(readme), "```go"+example+"```") {
		t.Errorf("README.md must show\n%s", example)
	}
}
