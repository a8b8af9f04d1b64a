package placement

import (
	"fmt"
	"testing"
)

// large is a cluster of 1,000 nodes and 200 pools of 10 instances each, all of them wanted.
func large(b *testing.B) *scene {
	b.Helper()
	s := newScene()
	do := func(f ...string) {
		if err := s.do(f); err != nil {
			b.Fatal(err)
		}
	}
	do("policy", "{migration: {max_concurrent: 10000}}")
	for i := range 1000 {
		do("node", fmt.Sprintf("node-%d", i), "role="+[]string{"compute", "storage"}[i%2], fmt.Sprintf("zone=z%d", i%3), "cpu=64", "mem=64Gi", "host=10.0."+fmt.Sprint(i))
	}
	for i := range 200 {
		do("app", fmt.Sprintf("pool-%d", i), "replicas=10", "require=role=compute", "prefer=zone=z1:50", "cpu=1", fmt.Sprintf("port=%d", 9000+i), fmt.Sprintf("away=pool-%d", i^1))
	}
	return s
}

// running is large with everything placed.
func running(b *testing.B) *scene {
	b.Helper()
	s := large(b)
	s.last = Make(s.v, s.loads, s.now)
	if len(s.last.Moves) != 2000 {
		b.Fatalf("%d moves", len(s.last.Moves))
	}
	s.carry()
	return s
}

func BenchmarkMake(b *testing.B) {
	for _, c := range []struct {
		name  string
		scene func(b *testing.B) *scene
		moves int
	}{
		{"first placement", large, 2000},
		{"nothing to do", running, 0},
		{"drain of a node", func(b *testing.B) *scene {
			s := running(b)
			if err := s.do([]string{"drain", s.v.Apps["pool-7"].SortedInstances()[0].Node}); err != nil {
				b.Fatal(err)
			}
			return s
		}, -1},
		{"restart of everything", func(b *testing.B) *scene {
			s := running(b)
			for name := range s.v.Apps {
				if err := s.do([]string{"restart", name}); err != nil {
					b.Fatal(err)
				}
			}
			return s
		}, 200},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := c.scene(b)
			b.ReportAllocs()
			for b.Loop() {
				if p := Make(s.v, s.loads, s.now); c.moves >= 0 && len(p.Moves) != c.moves || c.moves < 0 && len(p.Moves) == 0 {
					b.Fatalf("%d moves", len(p.Moves))
				}
			}
		})
	}
}

func BenchmarkBalance(b *testing.B) {
	s := newScene()
	for i := range 100 {
		if err := s.do([]string{"node", fmt.Sprintf("node-%d", i), "cpu=64", "mem=64Gi"}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 200 {
		name := fmt.Sprintf("app-%d", i)
		for _, f := range [][]string{{"app", name, "singleton"}, {"run", name + "-0", fmt.Sprintf("node-%d", i%50)}} {
			if err := s.do(f); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if p := Balance(s.v, nil); len(p.Moves) != 100 {
			b.Fatalf("%d moves", len(p.Moves))
		}
	}
}
