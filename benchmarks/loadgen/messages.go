package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// message is one request: bytes for one of the methods.
type message struct {
	method int
	body   []byte
}

// readMessages reads a file of records: uint8 index of the method, uint32 length (little-endian), body.
func readMessages(path string, methods int) ([]message, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	var found []message
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		body := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, err
		}
		if int(head[0]) >= methods {
			return nil, fmt.Errorf("message %d is for method %d of %d", len(found), head[0], methods)
		}
		found = append(found, message{int(head[0]), body})
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no message", path)
	}
	return found, nil
}

// writeReplies writes each call's reply in the order of the calls: uint32 length (little-endian), body.
func writeReplies(path string, replies [][]byte) error {
	return write(path, func(out *bufio.Writer) error {
		var size [4]byte
		for _, reply := range replies {
			binary.LittleEndian.PutUint32(size[:], uint32(len(reply)))
			if _, err := out.Write(size[:]); err != nil {
				return err
			}
			if _, err := out.Write(reply); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeLatencies writes how long each call took, in the order of the calls, then how late each began: int64 nanoseconds, little-endian.
func writeLatencies(path string, result outcome) error {
	return write(path, func(out *bufio.Writer) error {
		if err := binary.Write(out, binary.LittleEndian, result.nanoseconds); err != nil {
			return err
		}
		return binary.Write(out, binary.LittleEndian, result.late)
	})
}

func write(path string, content func(*bufio.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	if err := content(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}
