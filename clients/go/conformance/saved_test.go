package main

import (
	"encoding/json"
	"errors"
	"maps"
	"testing"
)

func TestWhatWasSavedIsPutInEveryText(t *testing.T) {
	request := json.RawMessage(`{"${key}": 1e400, "id": "<${id}|${id}>", "number": 18446744073709551615}`)
	got, err := filled(request, map[string]string{"key": "k", "id": `a"b\ü`})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"k": 1e400, "id": "<a\"b\\ü|a\"b\\ü>", "number": 18446744073709551615}`; string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestWhatWasNotSavedCannotBePut(t *testing.T) {
	_, err := filled(json.RawMessage(`{"id": "${nowhere}"}`), nil)
	if !errors.As(err, &runnerError{}) || failed(err).Code != "RUNNER" {
		t.Errorf("got %v", err)
	}
}

func TestTextsAndNumbersAreSavedByPath(t *testing.T) {
	response := json.RawMessage(`{"results": [{}, {"response": {"decisionId": "d"}}], "version": "18446744073709551615", "n": 0.1}`)
	saved := map[string]string{}
	err := keep(map[string]string{"decision": "results.1.response.decisionId", "version": "version", "n": "n"}, response, saved)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"decision": "d", "version": "18446744073709551615", "n": "0.1"}; !maps.Equal(saved, want) {
		t.Errorf("saved %v, want %v", saved, want)
	}
	for _, path := range []string{"results", "results.2", "results.-1", "results.x", "nowhere", "version.deeper", ""} {
		if err := keep(map[string]string{"it": path}, response, saved); !errors.As(err, &runnerError{}) {
			t.Errorf("%q got %v", path, err)
		}
	}
}
