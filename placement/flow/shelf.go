package flow

import "strconv"

// shelves keeps the nodes by atom – those that no app's rules and no weight tell apart – and within one by load, so that the
// emptiest node that an app may go to is at hand.
type shelves struct {
	x       *assignment
	atom    []int32     // node → atom
	group   []int32     // atom → group
	members [][]int32   // atom → nodes
	levels  [][][]int32 // atom → load → nodes with room
	lowest  []int32     // atom → no node has less
	pos     []int32     // node → its index in levels, −1 when it is on none
	classes [][]int32   // class → atoms its apps may go to
	class   []int32     // app → class
	closed  []bool      // node → out of the game
}

func newShelves(x *assignment) *shelves {
	in := x.in
	s := &shelves{x: x, atom: make([]int32, len(in.Nodes)), pos: make([]int32, len(in.Nodes)), closed: make([]bool, len(in.Nodes)), class: make([]int32, len(in.Apps))}
	type key struct {
		group  int32
		weight int64
	}
	atoms := map[key]int32{}
	for n := range in.Nodes {
		k := key{in.Nodes[n].Group, in.Nodes[n].Weight}
		a, ok := atoms[k]
		if !ok {
			a = int32(len(atoms))
			atoms[k] = a
			s.group = append(s.group, k.group)
		}
		s.atom[n] = a
		s.pos[n] = -1
	}
	s.members = make([][]int32, len(atoms))
	s.levels = make([][][]int32, len(atoms))
	s.lowest = make([]int32, len(atoms))
	for n := range in.Nodes {
		s.members[s.atom[n]] = append(s.members[s.atom[n]], int32(n))
		s.put(int32(n))
	}
	seen := map[string]int32{}
	var b []byte
	for i := range in.Apps {
		b = b[:0]
		for _, w := range in.Apps[i].Allowed {
			b = append(strconv.AppendUint(b, w, 36), ',')
		}
		c, ok := seen[string(b)]
		if !ok {
			c = int32(len(seen))
			seen[string(b)] = c
			var list []int32
			for a, g := range s.group {
				if in.Apps[i].allows(g) {
					list = append(list, int32(a))
				}
			}
			s.classes = append(s.classes, list)
		}
		s.class[i] = c
	}
	return s
}

// put shelves a node by its load, unless it is full or closed.
func (s *shelves) put(n int32) {
	load := s.x.load[n]
	if s.closed[n] || load >= s.x.in.Nodes[n].Max {
		return
	}
	a := s.atom[n]
	for int(load) >= len(s.levels[a]) {
		s.levels[a] = append(s.levels[a], nil)
	}
	s.pos[n] = int32(len(s.levels[a][load]))
	s.levels[a][load] = append(s.levels[a][load], n)
	s.lowest[a] = min(s.lowest[a], load)
}

func (s *shelves) take(n int32) {
	i := s.pos[n]
	if i < 0 {
		return
	}
	list := s.levels[s.atom[n]][s.x.load[n]]
	last := list[len(list)-1]
	list[i], s.pos[last] = last, i
	s.levels[s.atom[n]][s.x.load[n]] = list[:len(list)-1]
	s.pos[n] = -1
}

func (s *shelves) close(n int32) { s.take(n); s.closed[n] = true }

func (s *shelves) add(app, n int32)    { s.take(n); s.x.add(app, n); s.put(n) }
func (s *shelves) remove(app, n int32) { s.take(n); s.x.remove(app, n); s.put(n) }

// emptiest returns the node of the least cost below limit that can take an instance of the app, or −1.
func (s *shelves) emptiest(app int32, limit level) int32 {
	best := int32(-1)
	for _, a := range s.classes[s.class[app]] {
		lv := s.levels[a]
		for int(s.lowest[a]) < len(lv) && len(lv[s.lowest[a]]) == 0 {
			s.lowest[a]++
		}
		if int(s.lowest[a]) >= len(lv) {
			continue
		}
		weight := s.x.in.Nodes[s.members[a][0]].Weight
	atom:
		for load := s.lowest[a]; int(load) < len(lv); load++ {
			c := level{2*int64(load) + 1, weight}
			if !c.less(limit) {
				break
			}
			for _, n := range lv[load] {
				if !s.x.holds(app, n) {
					best, limit = n, c
					break atom
				}
			}
		}
	}
	return best
}
