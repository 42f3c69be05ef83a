package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

// hidden stands where the value is a secret.
const hidden = "[secret]"

var errSecret = errors.New("is a secret; `pulumi stack output --show-secrets` shows it")

// printOutputs prints all outputs as JSON, or those named as plain text, a line
// each, for scripts.
func printOutputs(ctx context.Context, s auto.Stack, names []string) error {
	outputs, err := s.Outputs(ctx)
	if err != nil {
		return err
	}
	plain := map[string]any{}
	for name, o := range outputs {
		if o.Secret {
			plain[name] = hidden
			continue
		}
		plain[name] = o.Value
	}
	var lines []string
	for _, name := range names {
		text, err := one(plain, name)
		if err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
		lines = append(lines, text)
	}
	if len(lines) > 0 {
		_, err := fmt.Println(strings.Join(lines, "\n"))
		return err
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(plain)
}

// one is the value at a path of names and numbers, apart by dots. A name may
// have dots itself: that of a project, or of a host.
func one(v any, path string) (string, error) {
	if path == "" {
		return plainText(v)
	}
	switch v := v.(type) {
	case map[string]any:
		for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
			if below, ok := v[path[:end]]; ok {
				return one(below, strings.TrimPrefix(path[end:], "."))
			}
		}
		return "", fmt.Errorf("there is no %q, there are %s", path, cmp.Or(strings.Join(slices.Sorted(maps.Keys(v)), ", "), "none yet"))
	case []any:
		number, rest, _ := strings.Cut(path, ".")
		i, err := strconv.Atoi(number)
		if err != nil || i < 0 || i >= len(v) {
			return "", fmt.Errorf("%q is none of the numbers from 0 to %d", number, len(v)-1)
		}
		return one(v[i], rest)
	case string:
		if v == hidden {
			return "", errSecret
		}
	}
	return "", fmt.Errorf("there is nothing below it, so no %q", path)
}

func plainText(v any) (string, error) {
	switch v := v.(type) {
	case map[string]any:
		return "", fmt.Errorf("has several values: choose one of %s", strings.Join(slices.Sorted(maps.Keys(v)), ", "))
	case []any:
		var all []string
		for _, x := range v {
			text, err := plainText(x)
			if err != nil {
				return "", err
			}
			all = append(all, text)
		}
		return strings.Join(all, ","), nil
	case string:
		if v == hidden {
			return "", errSecret
		}
		return v, nil
	}
	return fmt.Sprint(v), nil
}
