package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	// As the SDK: a command not answered by then ends the connection.
	answerWithin = 5 * time.Second
	dialWithin   = 10 * time.Second
	// The server pings every 25 s; the SDK waits 10 s longer.
	silentFor = 35 * time.Second
)

var pong = []byte("{}")

// client is one browser tab: a connection, its subscriptions and how far it has come in each.
type client struct {
	options  options
	stats    *stats
	connect  json.RawMessage
	channels []*channel
	isReady  bool

	writing sync.Mutex
	conn    net.Conn
	buffer  []byte
}

type channel struct {
	name, token, epoch string
	offset             uint64
	isKnown            bool // it was subscribed once: there is a position to come back to
}

func newClient(o options, s *stats, line clientLine) *client {
	made := &client{options: o, stats: s, connect: line.Connect}
	for name, token := range line.Channels {
		made.channels = append(made.channels, &channel{name: name, token: token})
	}
	return made
}

// live connects, listens, and comes back after each loss. settled is called once, after the first attempt.
func (c *client) live(settled func()) {
	failures := 0
	for {
		err := c.session(settled)
		settled = func() {}
		c.stats.lost.Add(1)
		if c.isReady {
			c.isReady = false
			c.stats.ready.Add(-1)
			failures = 0
		}
		c.count(err)
		time.Sleep(backoff(failures, c.options.minBackoff, c.options.maxBackoff))
		failures++
	}
}

// backoff is the SDK's: a random share of a doubling interval, on top of the least delay.
func backoff(step int, least, most time.Duration) time.Duration {
	interval := min(most, least<<min(step, 16))
	return min(most, least+rand.N(interval))
}

// session is one connection, from dialling to its end.
func (c *client) session(settled func()) error {
	var once sync.Once
	done := func() { once.Do(settled) }
	defer done()
	dialer := ws.Dialer{Timeout: dialWithin, ReadBufferSize: 2048, WriteBufferSize: 1024}
	if c.options.origin != "" {
		dialer.Header = ws.HandshakeHeaderHTTP(http.Header{"Origin": {c.options.origin}})
	}
	conn, early, _, err := dialer.Dial(context.Background(), c.options.url)
	if err != nil {
		return errors.New("dial")
	}
	defer conn.Close()
	c.conn = conn
	var reader io.Reader = conn
	if early != nil { // frames that came together with the handshake's answer
		reader = early
	}
	if c.options.plain {
		c.ready(done)
		return c.read(reader, func(frame []byte) error {
			c.stats.delivered(time.Now(), timestamp(frame))
			return nil
		})
	}
	conn.SetReadDeadline(time.Now().Add(answerWithin))
	if err := c.send(command{ID: 1, Connect: c.connect}); err != nil {
		return err
	}
	waiting := len(c.channels)
	return c.read(reader, func(frame []byte) error {
		now := time.Now()
		for line := range bytes.SplitSeq(frame, []byte("\n")) {
			if err := c.take(line, now, &waiting, done); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *client) ready(done func()) {
	c.isReady = true
	c.stats.isReady(time.Now())
	done()
}

// take deals with one line of a frame.
func (c *client) take(line []byte, now time.Time, waiting *int, done func()) error {
	if len(line) == 0 {
		return nil
	}
	if bytes.Equal(line, pong) {
		c.conn.SetReadDeadline(now.Add(silentFor))
		return c.write(pong)
	}
	if name, data, offset, ok := quickPublication(line); ok {
		c.published(c.channel(name), data, offset, now)
		return nil
	}
	var answer reply
	if err := json.Unmarshal(line, &answer); err != nil {
		return errors.New("not JSON")
	}
	switch {
	case answer.Push != nil && answer.Push.Publication != nil:
		c.published(c.channel([]byte(answer.Push.Channel)), answer.Push.Publication.Data, answer.Push.Publication.Offset, now)
	case answer.Error != nil && answer.ID > 1:
		c.stats.problem(code("subscribe error", answer.Error.Code))
		time.AfterFunc(backoff(0, c.options.minBackoff, c.options.maxBackoff), func() { c.subscribe(answer.ID - 2) })
	case answer.Error != nil:
		return errors.New(code("connect error", answer.Error.Code))
	case answer.Connect != nil:
		c.stats.connects.Add(1)
		if *waiting == 0 {
			c.conn.SetReadDeadline(now.Add(silentFor))
			c.ready(done)
			return nil
		}
		return c.subscribeAll()
	case answer.Subscribe != nil:
		c.subscribed(c.channels[answer.ID-2], answer.Subscribe, now)
		if *waiting--; *waiting == 0 {
			c.conn.SetReadDeadline(now.Add(silentFor))
			c.ready(done)
		}
	}
	return nil
}

func (c *client) channel(name []byte) *channel {
	for _, one := range c.channels {
		if string(name) == one.name {
			return one
		}
	}
	return nil
}

func (c *client) published(where *channel, data []byte, offset uint64, now time.Time) {
	c.stats.delivered(now, timestamp(data))
	if where == nil {
		return
	}
	if offset > where.offset+1 {
		c.stats.gaps.Add(int64(offset - where.offset - 1))
	}
	if offset != 0 && offset <= where.offset {
		c.stats.repeats.Add(1)
	}
	where.offset = max(where.offset, offset)
}

func (c *client) subscribed(where *channel, answer *subscribed, now time.Time) {
	if !where.isKnown || !answer.Recovered {
		if where.isKnown {
			c.stats.unrecovered.Add(1)
		}
		where.offset = answer.Offset
	} else {
		c.stats.recovered.Add(1)
		for _, missed := range answer.Publications {
			c.published(where, missed.Data, missed.Offset, now)
		}
	}
	where.epoch, where.isKnown = answer.Epoch, true
}

// subscribeAll asks for all channels in one frame, as the SDK does.
func (c *client) subscribeAll() error {
	var frame []byte
	for i := range c.channels {
		line, err := json.Marshal(c.asking(i))
		if err != nil {
			return err
		}
		frame = append(append(frame, line...), '\n')
	}
	return c.write(bytes.TrimSuffix(frame, []byte("\n")))
}

func (c *client) subscribe(i int) {
	_ = c.send(c.asking(i)) // a connection that has ended meanwhile asks again when it is back
}

func (c *client) asking(i int) command {
	where := c.channels[i]
	asked := &subscribe{Channel: where.name, Token: where.token}
	if where.isKnown {
		asked.Recover, asked.Epoch, asked.Offset = true, where.epoch, where.offset
	}
	return command{ID: i + 2, Subscribe: asked}
}

func (c *client) send(what command) error {
	line, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return c.write(line)
}

func (c *client) write(text []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return ws.WriteFrame(c.conn, ws.MaskFrameInPlace(ws.NewTextFrame(bytes.Clone(text))))
}

// closed is the server's goodbye.
type closed struct{ code int }

func (c closed) Error() string { return code("closed", c.code) }

// read gives each text frame to take; the bytes are good until it returns. No server of ours splits a message.
func (c *client) read(from io.Reader, take func([]byte) error) error {
	for {
		header, err := ws.ReadHeader(from)
		if err != nil {
			return err
		}
		if int64(cap(c.buffer)) < header.Length {
			c.buffer = make([]byte, max(header.Length, 1024))
		}
		payload := c.buffer[:header.Length]
		if _, err := io.ReadFull(from, payload); err != nil {
			return err
		}
		switch header.OpCode {
		case ws.OpText, ws.OpBinary:
			if err := take(payload); err != nil {
				return err
			}
		case ws.OpClose:
			status, _ := ws.ParseCloseFrameData(payload)
			return closed{int(status)}
		case ws.OpPing:
			c.writing.Lock()
			err := ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewPongFrame(bytes.Clone(payload))))
			c.writing.Unlock()
			if err != nil {
				return err
			}
		}
	}
}

func (c *client) count(err error) {
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		c.stats.problem("no answer in time")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		c.stats.problem("connection ended")
	case errors.As(err, new(closed)):
		c.stats.problem(err.Error())
	default:
		var operation *net.OpError
		if errors.As(err, &operation) {
			c.stats.problem("connection broken")
			return
		}
		c.stats.problem(err.Error())
	}
}
