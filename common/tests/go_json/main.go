// Prints each line of JSON on stdin as the Go operator hashes it: once through
// an API server and then decoded and encoded again, with the MD5 before it.
package main

import (
	"bufio"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// kubernetes turns numbers into int64 where they fit, else into float64.
func kubernetes(value any) any {
	switch value := value.(type) {
	case json.Number:
		if !strings.ContainsAny(string(value), ".eE") {
			if integer, err := strconv.ParseInt(string(value), 10, 64); err == nil {
				return integer
			}
		}
		float, err := value.Float64()
		if err != nil {
			panic(err)
		}
		return float
	case []any:
		for index := range value {
			value[index] = kubernetes(value[index])
		}
	case map[string]any:
		for name := range value {
			value[name] = kubernetes(value[name])
		}
	}
	return value
}

func reprint(text string) string {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		panic(err)
	}
	printed, err := json.Marshal(kubernetes(value))
	if err != nil {
		panic(err)
	}
	return string(printed)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		printed := reprint(reprint(lines.Text()))
		fmt.Printf("%x %s\n", md5.Sum([]byte(printed)), printed)
	}
}
