// Prints each event once, in order, whatever is repeated on the topic: go run ./consumer
//
// The state of the fold is in memory, so each start reads all. In your program, store it together with what you make of it.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"genflow.example/go/genflow/event"
	"genflow.example/go/registry"
	"github.com/twmb/franz-go/pkg/kgo"
)

// held is what the fold keeps of a request.
type held struct {
	retry, sequence int
	run             string
	at, began       time.Time // began: when this life of the request began
}

// fold returns what to keep after a new event; nil for an event that is a repeat (docs/events.md#the-fold).
func fold(before *held, e *event.GenerationEvent) *held {
	if before == nil {
		before = &held{sequence: -2} // below that of every event
	}
	run := ""
	if e.RunID != nil {
		run = *e.RunID
	}
	first := e.Retry == 0 && e.Sequence == 0
	newLife := first && e.OccurredAt.After(before.at) && run != before.run
	later := cmp.Or(cmp.Compare(e.Retry, before.retry), cmp.Compare(e.Sequence, before.sequence)) > 0
	if !newLife && (!later || e.OccurredAt.Before(before.began)) {
		return nil
	}
	after := &held{e.Retry, e.Sequence, run, e.OccurredAt, before.began}
	if first {
		after.began = e.OccurredAt
	}
	return after
}

func main() {
	brokers := strings.Split(cmp.Or(os.Getenv("KAFKA_BROKERS"), "127.0.0.1:9092"), ",")
	topic := cmp.Or(os.Getenv("TOPIC_EVENTS"), "gen.events")
	// Without a group, the client reads all partitions from their beginning.
	kafka, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic))
	if err != nil {
		log.Fatal(err)
	}
	state := map[string]*held{}
	for {
		fetches := kafka.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			log.Fatal(err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			e, err := registry.Decode(record.Value)
			if err != nil {
				log.Fatal(err)
			}
			if after := fold(state[e.RequestID], e); after != nil {
				state[e.RequestID] = after
				line := fmt.Sprintf("%s %d/%d %s", e.RequestID, e.Retry, e.Sequence, e.Type)
				if e.Result != nil {
					for _, output := range e.Result.Outputs {
						line += " " + output.URI
					}
				}
				fmt.Println(line)
			}
		})
	}
}
