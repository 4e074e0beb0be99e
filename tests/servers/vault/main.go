// A Vault server for tests: the server command of HashiCorp Vault with only the backends that the
// tests speak to. The stock binary compiles 2.4 times as much source.
//
//	vault server -config=FILE
//	vault version
//
// Build with `-tags minimal`: without the tag the library pulls in every plugin all the same.
// Vault is under the Business Source License 1.1: this is a test tool, and is not distributed.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/hashicorp/cli"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/command"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/version"
)

func serverCommand() *command.ServerCommand {
	ui := &cli.BasicUi{Reader: bufio.NewReader(os.Stdin), Writer: os.Stdout, ErrorWriter: os.Stderr}
	return &command.ServerCommand{
		BaseCommand:   &command.BaseCommand{UI: ui},
		AuditBackends: map[string]audit.Factory{"file": audit.NewFileBackend},
		CredentialBackends: map[string]logical.Factory{
			"approle":    approle.Factory,
			"cert":       cert.Factory,
			"jwt":        jwt.Factory,
			"kubernetes": kubernetes.Factory,
		},
		LogicalBackends: map[string]logical.Factory{
			"kv":      kv.Factory,
			"transit": transit.Factory,
		},
		PhysicalBackends: map[string]physical.Factory{
			"file":  file.NewFileBackend,
			"inmem": inmem.NewInmem,
		},
		ShutdownCh: command.MakeShutdownCh(),
		SighupCh:   command.MakeSighupCh(),
		SigUSR2Ch:  command.MakeSigUSR2Ch(),
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println(version.GetVersion().FullVersionNumber(true))
		return
	}
	if len(os.Args) < 2 || os.Args[1] != "server" {
		fmt.Fprintln(os.Stderr, "usage: vault server -config=FILE | vault version")
		os.Exit(2)
	}
	os.Exit(serverCommand().Run(os.Args[2:]))
}
