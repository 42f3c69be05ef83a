// Command halinux is the Pulumi program: the whole platform, described by
// Pulumi.<stack>.yaml.
package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/stacks"
)

func main() { pulumi.Run(stacks.Platform) }
