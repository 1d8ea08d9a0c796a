// Package examples makes the types in genflow from the schemas: go generate
package examples

//go:generate go tool avrogen -pkg request -o genflow/request/types.go ../../schemas/GenerationRequest.avsc
//go:generate go tool avrogen -pkg event -o genflow/event/types.go ../../schemas/GenerationEvent.avsc
//go:generate cp ../../schemas/GenerationEvent.avsc genflow/event/schema.avsc
