package main

import (
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// buildInfo is `version -o json`.
type buildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Time     string `json:"time"` // of the commit, RFC 3339
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Run is called by kong.
func (*versionCommand) Run(s *session) error {
	info := thisBuild()
	return s.print(info, func() {
		line := "go-cluster " + info.Version
		if info.Commit != "" {
			line += " " + info.Commit[:min(12, len(info.Commit))]
		}
		if info.Modified {
			line += " modified"
		}
		s.sayf("%s (%s, %s)", line, info.Go, info.Platform)
	})
}

func thisBuild() buildInfo {
	info := buildInfo{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return info
	}
	if b.Main.Version != "" {
		info.Version = b.Main.Version
	}
	for _, set := range b.Settings {
		switch set.Key {
		case "vcs.revision":
			info.Commit = set.Value
		case "vcs.time":
			info.Time = set.Value
		case "vcs.modified":
			info.Modified = set.Value == "true"
		}
	}
	return info
}
