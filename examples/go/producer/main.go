// Sends a request for one image: go run ./producer ID PROMPT
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"genflow.example/go/genflow/request"
	"genflow.example/go/registry"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: producer ID PROMPT")
	}
	brokers := cmp.Or(os.Getenv("KAFKA_BROKERS"), "127.0.0.1:9092")
	topic := cmp.Or(os.Getenv("TOPIC_REQUESTS"), "gen.requests")
	id, side := os.Args[1], 512
	message := &request.GenerationRequest{
		// Your own id of the work, made before the first send: if you send it again, it still runs once.
		RequestID: id,
		UserID:    "alice",
		// Go leaves out no field, so the program repeats the schema's defaults that are not empty.
		Spec:     &request.ImageSpec{Prompt: os.Args[2], Width: &side, Height: &side, OnUnsupported: "REFUSE"},
		Priority: "NORMAL",
		NotifyOn: []string{"COMPLETED", "FAILED", "CANCELLED", "REJECTED"},
		Metadata: map[string]string{"from": "go"},
	}
	if url := os.Getenv("WEBHOOK_URL"); url != "" {
		message.WebhookURL = &url
	}
	value, err := registry.Encode(topic, message)
	if err != nil {
		log.Fatal(err)
	}
	// franz-go's producer is idempotent and waits for all replicas.
	kafka, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...))
	if err != nil {
		log.Fatal(err)
	}
	defer kafka.Close()
	// The key is the request's id.
	record := &kgo.Record{Topic: topic, Key: []byte(id), Value: value}
	sent, err := kafka.ProduceSync(context.Background(), record).First()
	if err != nil {
		log.Fatalf("%s was not sent: %v", id, err)
	}
	fmt.Printf("sent %s to %s, partition %d\n", id, topic, sent.Partition)
}
