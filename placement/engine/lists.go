package engine

import "slices"

// tidy sorts a list and drops what it has twice.
func tidy(list *[]int32) {
	if !slices.IsSorted(*list) {
		slices.Sort(*list)
	}
	*list = slices.Compact(*list)
}

// exclude drops from a sorted list what is in another.
func exclude(list, other []int32) []int32 {
	if len(other) == 0 {
		return list
	}
	return slices.DeleteFunc(list, func(v int32) bool { _, ok := slices.BinarySearch(other, v); return ok })
}
