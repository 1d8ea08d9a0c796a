// Reads dashboards as strictly as Grafana's schemas allow: no unknown field, no value of a wrong type. It prints their
// titles.
//
//	go run . dashboard.json [more files...]
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The panels that the schemas check; they let any other type pass.
var types = []string{"row", "stat", "table", "timeseries"}

func main() {
	plugins.RegisterDefaultPlugins()
	for _, file := range os.Args[1:] {
		title, err := check(file)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
		fmt.Println(title)
	}
}

func check(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var read dashboard.Dashboard
	// The library returns an error without a text if all is well.
	if err := read.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		return "", err
	}
	if err := read.Validate(); err != nil && err.Error() != "" {
		return "", err
	}
	var plain struct {
		Title  string
		Panels []struct{ Type, Title string }
	}
	if err := json.Unmarshal(text, &plain); err != nil {
		return "", err
	}
	for _, panel := range plain.Panels {
		if !slices.Contains(types, panel.Type) {
			return "", fmt.Errorf("panel %q has the type %q, expected one of %v", panel.Title, panel.Type, types)
		}
	}
	return plain.Title, nil
}
