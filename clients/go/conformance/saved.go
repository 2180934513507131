package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var placeholder = regexp.MustCompile(`\$\{(\w+)\}`)

// filled puts what was saved in place of every ${name} of a request. It works on the text, so that numbers stay as they are written.
func filled(request json.RawMessage, saved map[string]string) (json.RawMessage, error) {
	var missing error
	text := placeholder.ReplaceAllFunc(request, func(found []byte) []byte {
		value, ok := saved[string(found[2:len(found)-1])]
		if !ok {
			missing = runnerError{fmt.Errorf("nothing was saved as %s", found)}
		}
		quoted, err := json.Marshal(value)
		if err != nil {
			missing = runnerError{err}
		}
		return quoted[1 : len(quoted)-1]
	})
	return text, missing
}

// keep adds to saved what a step saves of its response: names to dotted paths.
func keep(paths map[string]string, response json.RawMessage, saved map[string]string) error {
	if len(paths) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(response))
	decoder.UseNumber()
	var whole any
	if err := decoder.Decode(&whole); err != nil {
		return runnerError{fmt.Errorf("there is no response to save from: %w", err)}
	}
	for name, path := range paths {
		switch value := at(whole, path).(type) {
		case string:
			saved[name] = value
		case json.Number:
			saved[name] = value.String()
		default:
			return runnerError{fmt.Errorf("saving %s: the response has no text or number at %s", name, path)}
		}
	}
	return nil
}

// at is what lies at a dotted path, items of lists by number; nil when there is nothing.
func at(value any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch within := value.(type) {
		case map[string]any:
			value = within[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(within) {
				return nil
			}
			value = within[i]
		default:
			return nil
		}
	}
	return value
}
