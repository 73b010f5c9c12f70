package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type crowd struct {
	clients []*client
	stats   *stats
}

// clientLine is a line of the clients' file.
type clientLine struct {
	Connect  json.RawMessage   `json:"connect"`
	Channels map[string]string `json:"channels"`
}

func newCrowd(o options) (*crowd, error) {
	made := &crowd{stats: &stats{problems: map[string]int{}}}
	if o.plain {
		for range o.count {
			made.clients = append(made.clients, newClient(o, made.stats, clientLine{}))
		}
		return made, nil
	}
	file, err := os.Open(o.clients)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && (o.count == 0 || len(made.clients) < o.count) {
		var line clientLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, err
		}
		made.clients = append(made.clients, newClient(o, made.stats, line))
	}
	if len(made.clients) < o.count {
		return nil, fmt.Errorf("loadclient: %s has only %d clients", o.clients, len(made.clients))
	}
	return made, lines.Err()
}

// open starts every client, so many dialling at once, and waits until all are ready, or no longer than patience.
func (c *crowd) open(dialing int, patience time.Duration) {
	deadline := time.Now().Add(patience)
	places := make(chan struct{}, dialing)
	go func() {
		for _, one := range c.clients {
			places <- struct{}{}
			go one.live(func() { <-places })
		}
	}()
	for c.stats.ready.Load() < int64(len(c.clients)) && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
}
