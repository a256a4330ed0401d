// An emulator inside a C++ program: loads a part written by `gen2reco export --format onnx` with
// ONNX Runtime and reproduces its reference rows.
//
//   onnx_emulator PART.onnx PART.csv
//
// Needs ONNX Runtime alone; see docs/howto/sites.md for how it is compiled.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// A table of float32 numbers, row by row, as GEN features, noise and RECO features are.
struct Table {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> numbers;

  float at(std::int64_t row, std::int64_t column) const { return numbers[row * columns + column]; }

  // The same memory as ONNX Runtime sees it.
  Ort::Value tensor() {
    const std::array<std::int64_t, 2> shape{rows, columns};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    return Ort::Value::CreateTensor<float>(memory, numbers.data(), numbers.size(), shape.data(),
                                           shape.size());
  }
};

// The columns of a file whose names begin with `prefix`.
Table read(const char *path, const std::string &prefix) {
  std::ifstream file(path);
  Table table;
  std::string line, word;
  std::vector<bool> wanted;
  std::getline(file, line);
  for (std::stringstream head(line); std::getline(head, word, ',');)
    wanted.push_back(word.rfind(prefix, 0) == 0);
  table.columns = std::count(wanted.begin(), wanted.end(), true);
  for (; std::getline(file, line); ++table.rows) {
    std::stringstream words(line);
    for (const bool take : wanted) {
      std::getline(words, word, ',');
      if (take) table.numbers.push_back(std::stof(word));
    }
  }
  return table;
}

// What a difference counts in: the central 68 % width of a column, 1 where it has none.
double width(const Table &table, std::int64_t column) {
  std::vector<float> sorted(table.rows);
  for (std::int64_t i = 0; i < table.rows; ++i) sorted[i] = table.at(i, column);
  std::sort(sorted.begin(), sorted.end());
  const auto at = [&](double share) { return sorted[std::llround(share * (table.rows - 1))]; };
  return at(0.84) > at(0.16) ? double(at(0.84)) - at(0.16) : 1.0;
}

int main(int count, char **words) {
  if (count != 3) {
    std::fprintf(stderr, "usage: onnx_emulator PART.onnx PART.csv\n");
    return 2;
  }
  Table gen = read(words[2], "gen."), noise = read(words[2], "noise.");
  const Table wanted = read(words[2], "reco.");

  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "gen2reco");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);  // one thread per stream of events, as frameworks have it
  Ort::Session emulator(environment, words[1], options);

  // GEN features and noise in, RECO features out; any number of rows.
  const char *inputs[] = {"gen", "noise"}, *outputs[] = {"reco"};
  const std::array<Ort::Value, 2> given{gen.tensor(), noise.tensor()};
  const auto made =
      emulator.Run(Ort::RunOptions{nullptr}, inputs, given.data(), given.size(), outputs, 1);
  const float *reco = made[0].GetTensorData<float>();

  double worst = 0.0;
  for (std::int64_t j = 0; j < wanted.columns; ++j) {
    const double unit = width(wanted, j);
    for (std::int64_t i = 0; i < wanted.rows; ++i) {
      const double apart = std::abs(double(reco[i * wanted.columns + j]) - wanted.at(i, j));
      worst = std::max(worst, apart / unit);
    }
  }
  std::printf("%lld rows, largest difference %.2g of a width\n",
              static_cast<long long>(wanted.rows), worst);
  return wanted.rows > 0 && worst <= 1e-5 ? 0 : 1;
}
