package main

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// What Centrifugo's JSON protocol calls a reply: an answer to a command (with its id) or a push (without).
type reply struct {
	ID        int             `json:"id"`
	Error     *replyError     `json:"error"`
	Connect   json.RawMessage `json:"connect"`
	Subscribe *subscribed     `json:"subscribe"`
	Push      *push           `json:"push"`
}

type replyError struct {
	Code      int  `json:"code"`
	Temporary bool `json:"temporary"`
}

type subscribed struct {
	Epoch         string        `json:"epoch"`
	Offset        uint64        `json:"offset"`
	Recovered     bool          `json:"recovered"`
	WasRecovering bool          `json:"was_recovering"`
	Publications  []publication `json:"publications"`
}

type push struct {
	Channel     string       `json:"channel"`
	Publication *publication `json:"pub"`
}

type publication struct {
	Data   json.RawMessage `json:"data"`
	Offset uint64          `json:"offset"`
}

type command struct {
	ID        int        `json:"id"`
	Connect   any        `json:"connect,omitempty"`
	Subscribe *subscribe `json:"subscribe,omitempty"`
}

type subscribe struct {
	Channel string `json:"channel"`
	Token   string `json:"token,omitempty"`
	Recover bool   `json:"recover,omitempty"`
	Epoch   string `json:"epoch,omitempty"`
	Offset  uint64 `json:"offset,omitempty"`
}

var (
	pushPrefix   = []byte(`{"push":{"channel":"`)
	pubPrefix    = []byte(`","pub":{"data":`)
	offsetKey    = []byte(`"offset":`)
	timestampKey = []byte(`"timestamp":"`)
)

// quickPublication reads a push as the servers write it, without decoding the whole. ok is false for whatever looks
// otherwise, which is then decoded.
func quickPublication(line []byte) (channel []byte, data []byte, offset uint64, ok bool) {
	if !bytes.HasPrefix(line, pushPrefix) {
		return nil, nil, 0, false
	}
	rest := line[len(pushPrefix):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 || !bytes.HasPrefix(rest[end:], pubPrefix) {
		return nil, nil, 0, false
	}
	channel, data = rest[:end], rest[end+len(pubPrefix):]
	at := bytes.LastIndex(data, offsetKey)
	if at < 0 {
		return nil, nil, 0, false
	}
	digits := data[at+len(offsetKey):]
	length := 0
	for length < len(digits) && digits[length] >= '0' && digits[length] <= '9' {
		length++
	}
	offset, err := strconv.ParseUint(string(digits[:length]), 10, 64)
	return channel, data, offset, err == nil
}

// timestamp is the envelope's: when the event happened. Zero where there is none.
func timestamp(data []byte) time.Time {
	at := bytes.Index(data, timestampKey)
	if at < 0 {
		return time.Time{}
	}
	rest := data[at+len(timestampKey):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return time.Time{}
	}
	moment, err := time.Parse(time.RFC3339Nano, string(rest[:end]))
	if err != nil {
		return time.Time{}
	}
	return moment
}
