// An emulator inside a C++ program: loads a part compiled by `gen2reco export --format aoti` and
// reproduces its reference rows.
//
//   emulator PART.pt2 PART.csv
//
// Needs libtorch alone; see docs/howto/sites.md for how it is compiled.

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// Rows of numbers with named columns; all are float32, as GEN features, noise and RECO features are.
struct Rows {
  std::vector<std::string> names;
  std::vector<std::vector<float>> columns;

  // The columns whose names begin with `prefix`, as a tensor [rows, columns].
  torch::Tensor tensor(const std::string &prefix) const {
    std::vector<torch::Tensor> found;
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i].rfind(prefix, 0) == 0)
        found.push_back(torch::tensor(columns[i], torch::kFloat32));
    return torch::stack(found, 1);
  }
};

Rows read(const char *path) {
  std::ifstream file(path);
  Rows rows;
  std::string line, word;
  std::getline(file, line);
  for (std::stringstream head(line); std::getline(head, word, ',');) rows.names.push_back(word);
  rows.columns.resize(rows.names.size());
  while (std::getline(file, line)) {
    std::stringstream numbers(line);
    for (auto &column : rows.columns) {
      std::getline(numbers, word, ',');
      column.push_back(std::stof(word));
    }
  }
  return rows;
}

// What a difference counts in: the central 68 % width of a column, 1 where it has none.
double width(torch::Tensor column) {
  const auto sorted = std::get<0>(column.sort());
  const auto last = sorted.size(0) - 1;
  const auto at = [&](double share) { return sorted[std::llround(share * last)].item<double>(); };
  return at(0.84) > at(0.16) ? at(0.84) - at(0.16) : 1.0;
}

int main(int count, char **words) {
  if (count != 3) {
    std::fprintf(stderr, "usage: emulator PART.pt2 PART.csv\n");
    return 2;
  }
  torch::inductor::AOTIModelPackageLoader emulator(words[1]);
  const Rows rows = read(words[2]);
  const auto wanted = rows.tensor("reco.");

  c10::InferenceMode guard;
  // GEN features and noise in, RECO features out; any number of rows.
  const auto reco = emulator.run({rows.tensor("gen."), rows.tensor("noise.")})[0];

  double worst = 0.0;
  for (int64_t j = 0; j < wanted.size(1); ++j) {
    const auto stored = wanted.select(1, j).to(torch::kFloat64);
    const auto apart = (reco.select(1, j).to(torch::kFloat64) - stored).abs() / width(stored);
    worst = std::max(worst, apart.max().item<double>());
  }
  std::printf("%lld rows, largest difference %.2g of a width\n",
              static_cast<long long>(wanted.size(0)), worst);
  return worst <= 1e-5 ? 0 : 1;
}
