// Reads Grafana dashboards by Grafana's own schema: unknown fields, missing ones and wrong types are errors.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The SDK returns an empty list of faults where there are none.
func isFault(err error) bool {
	var faults cog.BuildErrors
	return err != nil && (!errors.As(err, &faults) || len(faults) > 0)
}

func check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	read := dashboard.Dashboard{}
	if err := read.UnmarshalJSONStrict(text); isFault(err) {
		return err
	}
	return read.Validate()
}

func main() {
	plugins.RegisterDefaultPlugins() // the schemas of the panels and of Prometheus' queries
	failed := false
	for _, path := range os.Args[1:] {
		if err := check(path); isFault(err) {
			fmt.Fprintf(os.Stderr, "%s: %s\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
