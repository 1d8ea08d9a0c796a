package event

import _ "embed" // for the schema

// Schema is what this program reads, whichever version of it a record was written with.
//
//go:embed schema.avsc
var Schema string
