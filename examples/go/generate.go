// Package examples makes the types in genflow from the schemas: go generate
package examples

//go:generate go tool avrogen -pkg request -o genflow/request/types.go ../../schemas/GenerationRequest.avsc
//go:generate go tool avrogen -pkg event -encoders -fullschema -o genflow/event/types.go ../../schemas/GenerationEvent.avsc
