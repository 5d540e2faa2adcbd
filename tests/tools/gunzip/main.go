// Gunzip unpacks its input as Go's own library does, and refuses whatever follows the first member.
package main

import (
	"bufio"
	"compress/gzip"
	"io"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	// A reader that gives single bytes is not read ahead of: what follows the member is still in it.
	input := bufio.NewReader(os.Stdin)
	member, err := gzip.NewReader(input)
	must(err)
	member.Multistream(false)
	_, err = io.Copy(os.Stdout, member)
	must(err)
	if _, err = input.ReadByte(); err != io.EOF {
		log.Fatal("something follows the member")
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
