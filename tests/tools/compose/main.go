// Compose reads the Compose file that is its argument as Docker Compose does, by its own library, and writes what it
// understood as JSON: schema, types, references from service to service. Paths are those of the file's folder.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	log.SetFlags(0)
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithDefaultConfigPath)
	must(err)
	project, err := options.LoadProject(context.Background())
	must(err)
	text, err := project.MarshalJSON()
	must(err)
	fmt.Println(string(text))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
