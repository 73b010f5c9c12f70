package main

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Latencies are kept in buckets of a tenth of a millisecond, up to a minute.
const (
	bucketWidth = 100 * time.Microsecond
	buckets     = 600_000
)

type stats struct {
	ready, opened, lost, connects                   atomic.Int64
	received, gaps, repeats, recovered, unrecovered atomic.Int64
	firstAt, lastAt, lastReadyAt                    atomic.Int64 // Unix nanoseconds
	latency                                         [buckets]atomic.Uint32

	mutex    sync.Mutex
	problems map[string]int
}

// report is what `count` answers. Times are Unix seconds, latencies milliseconds, 0 where nothing came.
type report struct {
	Ready       int64          `json:"ready"`    // clients that have all their subscriptions now
	Connects    int64          `json:"connects"` // connect commands that were answered well, ever
	Lost        int64          `json:"lost"`     // connections that ended, ever
	LastReadyAt float64        `json:"last_ready_at"`
	Received    int64          `json:"received"`
	Gaps        int64          `json:"gaps"`        // offsets passed over
	Repeats     int64          `json:"repeats"`     // offsets not above the last one
	Recovered   int64          `json:"recovered"`   // subscriptions taken up where they were, ever
	Unrecovered int64          `json:"unrecovered"` // those told to load their state again, ever
	FirstAt     float64        `json:"first_at"`
	LastAt      float64        `json:"last_at"`
	P50         float64        `json:"p50"`
	P95         float64        `json:"p95"`
	P99         float64        `json:"p99"`
	Max         float64        `json:"max"`
	Problems    map[string]int `json:"problems"`
}

func (s *stats) zero() {
	s.received.Store(0)
	s.gaps.Store(0)
	s.repeats.Store(0)
	s.firstAt.Store(0)
	s.lastAt.Store(0)
	for i := range s.latency {
		s.latency[i].Store(0)
	}
}

func (s *stats) isReady(at time.Time) {
	s.lastReadyAt.Store(at.UnixNano())
	s.ready.Add(1)
}

// delivered counts one publication. `sent` is zero where the message carries no timestamp.
func (s *stats) delivered(at, sent time.Time) {
	s.received.Add(1)
	s.firstAt.CompareAndSwap(0, at.UnixNano())
	s.lastAt.Store(at.UnixNano())
	if sent.IsZero() {
		return
	}
	bucket := max(0, min(buckets-1, int(at.Sub(sent)/bucketWidth)))
	s.latency[bucket].Add(1)
}

func (s *stats) problem(kind string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.problems[kind]++
}

func (s *stats) report() report {
	s.mutex.Lock()
	problems := make(map[string]int, len(s.problems))
	for kind, count := range s.problems {
		problems[kind] = count
	}
	s.mutex.Unlock()
	found := s.quantiles(0.5, 0.95, 0.99, 1)
	return report{
		Ready: s.ready.Load(), Connects: s.connects.Load(), Lost: s.lost.Load(), LastReadyAt: seconds(&s.lastReadyAt),
		Received: s.received.Load(), Gaps: s.gaps.Load(), Repeats: s.repeats.Load(),
		Recovered: s.recovered.Load(), Unrecovered: s.unrecovered.Load(),
		FirstAt: seconds(&s.firstAt), LastAt: seconds(&s.lastAt),
		P50: found[0], P95: found[1], P99: found[2], Max: found[3],
		Problems: problems,
	}
}

// quantiles, in milliseconds; the parts in rising order.
func (s *stats) quantiles(parts ...float64) []float64 {
	found := make([]float64, len(parts))
	var total, passed float64
	for i := range s.latency {
		total += float64(s.latency[i].Load())
	}
	next := 0
	for i := range s.latency {
		passed += float64(s.latency[i].Load())
		for next < len(parts) && total > 0 && passed >= parts[next]*total {
			found[next] = float64(i+1) * bucketWidth.Seconds() * 1000
			next++
		}
	}
	return found
}

func seconds(at *atomic.Int64) float64 { return float64(at.Load()) / 1e9 }

func code(kind string, number int) string { return kind + " " + strconv.Itoa(number) }
