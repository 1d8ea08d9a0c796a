// Package registry encodes and decodes records with the schemas of the registry.
package registry

import (
	"cmp"
	"context"
	"log"
	"os"

	"genflow.example/go/genflow/event"
	"genflow.example/go/genflow/request"
	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/sr"
)

var (
	ctx    = context.Background()
	framed sr.ConfluentHeader
	client *sr.Client
	reader = avro.MustParse(event.Schema)
	// What events are read as, by the id of the schema that they were written with.
	resolved = map[int]avro.Schema{}
)

func init() {
	url := cmp.Or(os.Getenv("SCHEMA_REGISTRY_URL"), "http://127.0.0.1:8081/apis/ccompat/v7")
	var err error
	if client, err = sr.NewClient(sr.URLs(url)); err != nil {
		log.Fatal(err)
	}
	avro.Register("genflow.v1.VideoSpec", &request.VideoSpec{})
	avro.Register("genflow.v1.ImageSpec", &request.ImageSpec{})
	avro.Register("genflow.v1.BatchSpec", &request.BatchSpec{})
}

// Encode returns a request as a record of the topic, with the schema that `genflow setup` has registered for it.
func Encode(topic string, message *request.GenerationRequest) ([]byte, error) {
	latest, err := client.SchemaByVersion(ctx, topic+"-value", -1)
	if err != nil {
		return nil, err
	}
	schema, err := parse(latest.Schema.Schema)
	if err != nil {
		return nil, err
	}
	datum, err := avro.Marshal(schema, message)
	if err != nil {
		return nil, err
	}
	value, err := framed.AppendEncode(nil, latest.ID, nil)
	return append(value, datum...), err
}

// Decode returns the event of a record, whichever version of the schema it was written with.
func Decode(value []byte) (*event.GenerationEvent, error) {
	id, datum, err := framed.DecodeID(value)
	if err != nil {
		return nil, err
	}
	e := new(event.GenerationEvent)
	if resolved[id] == nil {
		writer, err := client.SchemaByID(ctx, id)
		if err != nil {
			return nil, err
		}
		schema, err := parse(writer.Schema)
		if err != nil {
			return nil, err
		}
		if resolved[id], err = avro.NewSchemaCompatibility().Resolve(reader, schema); err != nil {
			return nil, err
		}
	}
	return e, avro.Unmarshal(resolved[id], datum, e)
}

// parse reads a schema by itself: several versions have the same names.
func parse(text string) (avro.Schema, error) {
	return avro.ParseWithCache(text, "", &avro.SchemaCache{})
}
